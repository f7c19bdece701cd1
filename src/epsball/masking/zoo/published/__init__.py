"""The defences of the chapter's Table 17.1 that Athalye, Carlini and Wagner (2018) broke: one file each."""
