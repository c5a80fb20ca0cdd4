"""Makes ca.pem, server.pem, server.key, client.pem and client.key for loopback in the folder given."""

import sys
from pathlib import Path

import trustme

folder = Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(folder / "ca.pem")
for name, identity in {"server": ["localhost", "127.0.0.1", "::1"], "client": ["stillair@example.org"]}.items():
    certificate = authority.issue_cert(*identity)
    (folder / f"{name}.pem").unlink(missing_ok=True)
    for part in certificate.cert_chain_pems:
        part.write_to_path(folder / f"{name}.pem", append=True)
    certificate.private_key_pem.write_to_path(folder / f"{name}.key")
