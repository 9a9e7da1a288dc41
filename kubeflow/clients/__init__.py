"""Clients of the platforms: how a compiled pipeline is submitted and its run followed.

`compiled` reads the file, `kfp` and `vertex` speak to the services, `watch` follows a run. What a
platform says is put in the words of `run`; nothing beside `kfp`, `vertex` and `google` imports a
client library.
"""
