#!/usr/bin/env python3
"""Writes down what a real kubeadm 1.20.2 puts into certificates and kubeconfigs.

    capture.py <path to kubeadm 1.20.2>

kubeadm comes out of the Kubernetes build of this repository (Debian 12's source package). For each
*.yaml here `kubeadm init phase certs all` and `init phase kubeconfig all` run in a temporary folder;
the facts go to *.json. openssl reads them, not our own parser, and no key is kept.
"""

import base64, datetime, json, pathlib, re, subprocess, sys, tempfile

HERE = pathlib.Path(__file__).parent


def openssl(pem, *options):
    run = subprocess.run(["openssl", "x509", "-noout", *options], input=pem, capture_output=True, check=True)
    return run.stdout.decode()


def seconds(text):
    return datetime.datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT").timestamp()


def certificate(pem):
    name = lambda line: dict(part.split("=", 1) for part in line.split("=", 1)[1].strip().split(",") if part)
    text = openssl(pem, "-text")
    after = lambda title: (re.search(re.escape(title) + r":[^\n]*\n\s*(.*)", text) or [None, ""])[1].split(", ")
    subject = name(openssl(pem, "-subject", "-nameopt", "RFC2253"))
    dates = dict(line.split("=") for line in openssl(pem, "-dates").splitlines())
    sans = [san.split(":", 1) for san in after("X509v3 Subject Alternative Name") if san]
    return {
        "commonName": subject["CN"],
        "organizations": [subject["O"]] if "O" in subject else [],
        "issuer": name(openssl(pem, "-issuer", "-nameopt", "RFC2253"))["CN"],
        "authority": "CA:TRUE" in text,
        "keyUsage": [word for word in after("X509v3 Key Usage") if word],
        "extendedKeyUsage": [word for word in after("X509v3 Extended Key Usage") if word],
        "dns": sorted(value for kind, value in sans if kind == "DNS"),
        "ips": sorted(value for kind, value in sans if kind == "IP Address"),
        "days": int(seconds(dates["notAfter"]) - seconds(dates["notBefore"])) // 86400,
        "key": re.search(r"Public Key Algorithm: (\w+)", text)[1],
    }


def kubeconfig(text):
    value = lambda key: re.search(rf"^[ -]*{key}: (.*)$", text, re.M)[1]
    pem = base64.b64decode(value("client-certificate-data"))
    return {
        "server": value("server"),
        "cluster": re.search(r"^    cluster: (.*)$", text, re.M)[1],
        "user": re.search(r"^    user: (.*)$", text, re.M)[1],
        "context": value("current-context"),
        "shape": re.sub(r"(-data): .*", r"\1: omitted", text),
        "certificate": certificate(pem),
    }


def capture(kubeadm, config, folder):
    # kubeadm takes the certificates' folder from the file only.
    with_folder = folder / "config.yaml"
    with_folder.write_text(f"{config.read_text()}certificatesDir: {folder}/pki\n")
    for phase in [("certs", "all"), ("kubeconfig", "all", "--kubeconfig-dir", folder)]:
        command = [kubeadm, "init", "phase", *phase, "--config", with_folder]
        subprocess.run(command, check=True, env={}, stdout=subprocess.DEVNULL)
    names = sorted(folder.glob("pki/**/*.crt"))
    return {
        "certificates": {str(path.relative_to(folder / "pki"))[:-4]: certificate(path.read_bytes()) for path in names},
        "kubeconfigs": {path.name: kubeconfig(path.read_text()) for path in sorted(folder.glob("*.conf"))},
        "files": {str(path.relative_to(folder / "pki")): f"{path.stat().st_mode & 0o777:04o}" for path in sorted(folder.glob("pki/**/*.*")) if path.is_file()},
    }


for config in sorted(HERE.glob("*.yaml")):
    with tempfile.TemporaryDirectory() as folder:
        facts = capture(sys.argv[1], config, pathlib.Path(folder))
    config.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
