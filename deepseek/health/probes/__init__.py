"""Programs that look at what may crash, hang or be missing, each printing one line of JSON.

They are run by path in processes of their own and import nothing of this package, so that they
work whatever is broken. A probe that fails ends with a traceback; its last line is the reason.
"""
