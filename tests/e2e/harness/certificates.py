"""Certificates of tests, made by openssl."""

import os
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.cert = folder / "ca.pem"
        self.key = folder / "ca.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test authority", "-keyout", self.key, "-out", self.cert,
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue(self, name, algorithm=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        """`(certificate, key)` files for 127.0.0.1 and localhost, of which `name` is the common name."""
        cert, key, request = (self.folder / (name + end) for end in (".pem", ".key", ".csr"))
        extensions = self.folder / (name + ".ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
        openssl("req", "-newkey", *algorithm, "-nodes", "-subj", "/CN=" + name, "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
            "-extfile", extensions, "-out", cert,
        )  # fmt: skip
        return cert, key


def replace(target, source):
    """Replaces a file as programs that renew certificates do."""
    beside = target.with_name(target.name + ".new")
    beside.write_bytes(source.read_bytes())
    os.replace(beside, target)
