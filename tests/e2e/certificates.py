"""Certificates for servers on the loopback, made by openssl when a test needs one."""
import subprocess


def make_certificate(folder, name="localhost"):
    """(certificate, certificate with key), both PEM files in `folder`, for the host `name`."""
    cert, key, both = folder / "cert.pem", folder / "key.pem", folder / "both.pem"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                           "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert], capture_output=True)
    assert made.returncode == 0, made.stderr.decode()
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return cert, both
