"""Certificates for the tests, made by openssl: authorities, and what they have signed."""

import subprocess
from pathlib import Path

from tests.programs import program


class Certificates:
    """A folder of them; names are those of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._openssl = program("openssl")

    def authority(self, name: str = "ca") -> Path:
        """The certificate of an authority of its own."""
        made = ("-keyout", self._file(name, "key"), "-out", self._file(name, "pem"))
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", *made)
        return self.folder / f"{name}.pem"

    def signed(self, name: str, by: str = "ca", names: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> Path:
        """A certificate with its key in the same file."""
        request, extension = self._file(name, "csr"), self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={names}\n")
        self._run(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", self._file(name, "key"), "-out", request,
            "-subj", f"/CN={name}",
        )  # fmt: skip
        self._run(
            "x509", "-req", "-in", request, "-CA", self._file(by, "pem"), "-CAkey", self._file(by, "key"),
            "-CAcreateserial", "-days", str(days), "-extfile", str(extension), "-out", self._file(name, "crt"),
        )  # fmt: skip
        both = self.folder / f"{name}.pem"
        both.write_text((self.folder / f"{name}.key").read_text() + (self.folder / f"{name}.crt").read_text())
        return both

    def _file(self, name: str, kind: str) -> str:
        return str(self.folder / f"{name}.{kind}")

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True, text=True)
