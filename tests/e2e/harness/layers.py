"""Making layers for tests."""

import io
import uuid
import zipfile

from .functions import zip_of


def zip_with_links(files, links):
    """A zip as `zip_of` makes it, and symbolic links in it: `{name: target}`."""
    buffer = io.BytesIO(zip_of(files))
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, target in links.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    return buffer.getvalue()


class Layers:
    """Publishes layer versions and takes them away again."""

    def __init__(self, server):
        self.server = server
        self.made = []

    def __call__(self, files, name=None, links=None, **options):
        """The answer of PublishLayerVersion."""
        client = self.server.client("lambda")
        answer = client.publish_layer_version(
            LayerName=name or "layer-" + uuid.uuid4().hex[:12],
            Content={"ZipFile": zip_with_links(files, links or {})},
            **options,
        )
        self.made.append((answer["LayerArn"], answer["Version"]))
        return answer

    def clean(self):
        if self.server.process is None:
            return
        client = self.server.client("lambda")
        for arn, version in self.made:
            client.delete_layer_version(LayerName=arn, VersionNumber=version)
