"""Call a list of people from one task.

Four rooms, of which each imports only those above it:

===========  ===========================================================================
``people``   who is to be called: read from values or a file, and identified
``plan``     what to do next, decided purely
``results``  how it went: counts, rows and files, and the history that later runs read
``run``      the driver on the worker, which carries out the plan's actions
===========  ===========================================================================
"""
