"""A user's own folder of images: where files lie (`layout`), what they are (`content`), deliveries
of them (`spans`), what is told of them (`summary`), and how they are kept (`store`).

`components.datasets.image_folder` puts these together. Nothing here trusts the ending of a name.
"""
