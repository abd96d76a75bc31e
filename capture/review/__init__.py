"""The page on which people see, search and delete what was recorded of them: `modicum review`.

copies.py keeps what there is to see; library.py, film.py and moments.py read it; guard.py lets nobody else in; app.py and
server.py answer the browser; requests.py is what the agent does for the page.
"""
