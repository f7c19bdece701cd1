"""The items of the chapter, one file each."""
