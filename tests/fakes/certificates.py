"""A certificate authority of a test's own, as Docker's instructions for a protected engine make one."""

import subprocess
from pathlib import Path


def certificates(place: Path) -> tuple[Path, Path]:
    """Two directories with ca.pem, cert.pem and key.pem: an engine's at 127.0.0.1, and a client's."""
    place.mkdir(parents=True, exist_ok=True)
    ca = place / "ca.pem"
    _openssl(
        place, "req", "-x509", "-subj", "/CN=test", "-days", "2", *_new(place / "ca-key.pem"), "-out", str(ca)
    )
    made = []
    for name, use in (("engine", "serverAuth"), ("client", "clientAuth")):
        home = place / name
        home.mkdir()
        (home / "ca.pem").write_bytes(ca.read_bytes())
        (home / "extensions").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={use}\n")
        request = ["req", "-subj", f"/CN={name}", *_new(home / "key.pem"), "-out", "request"]
        _openssl(home, *request)
        signed = ["-CA", str(ca), "-CAkey", str(place / "ca-key.pem"), "-CAcreateserial", "-days", "2"]
        _openssl(
            home, "x509", "-req", "-in", "request", *signed, "-extfile", "extensions", "-out", "cert.pem"
        )
        made.append(home)
    return made[0], made[1]


def _new(key: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]


def _openssl(where: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=where, check=True, capture_output=True)
