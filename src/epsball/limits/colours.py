"""The colours of the limit's figures: two classes, and the curves beside them."""

CLASSES = ("#0072B2", "#D55E00")
BLACK, GREY, RED, GREEN, PURPLE = "#222222", "#777777", "#D55E00", "#009E73", "#AA3377"
