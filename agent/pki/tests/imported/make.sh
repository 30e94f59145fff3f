#!/bin/sh
# Makes the authorities of this folder with openssl, as people bring them from elsewhere.
# The keys sign nothing but these tests. Dates are 100 years so that no test looks at the clock.
set -eu
cd "$(dirname "$0")"
ca() { openssl req -x509 -days 36500 -sha256 -key "$1.key" -out "$1.crt" -subj "$2" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyCertSign; }
openssl genrsa -traditional -out rsa-pkcs1.key 2048
ca rsa-pkcs1 /CN=kubernetes
openssl pkcs8 -topk8 -nocrypt -in rsa-pkcs1.key -out rsa-pkcs8.key
cp rsa-pkcs1.crt rsa-pkcs8.crt
openssl ecparam -name prime256v1 -genkey -out ec-sec1.key
ca ec-sec1 "/C=DE/O=Example/CN=etcd-ca"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384-pkcs8.key
ca p384-pkcs8 /CN=front-proxy-ca
openssl genpkey -algorithm ED25519 -out ed25519.key
ca ed25519 /CN=machined-ca
# What must be refused:
cp ec-sec1.key two-organizations.key
ca two-organizations "/O=one/O=two/CN=ca"
cp ec-sec1.key not-an-authority.key
openssl req -x509 -days 36500 -key not-an-authority.key -out not-an-authority.crt -subj /CN=leaf \
    -addext basicConstraints=critical,CA:FALSE
cp ec-sec1.key may-not-sign.key
openssl req -x509 -days 36500 -key may-not-sign.key -out may-not-sign.crt -subj /CN=ca \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.key
ca p521 /CN=ca
openssl pkcs8 -topk8 -in ec-sec1.key -passout pass:test -out encrypted.key
cp ec-sec1.crt encrypted.crt
# Requests: one that asks for more than it may have, one with an RSA key.
openssl ecparam -name prime256v1 -genkey -noout -out greedy.key
openssl req -new -key greedy.key -out greedy.csr -subj "/O=system:masters/CN=root" \
    -addext subjectAltName=DNS:evil.example -addext basicConstraints=critical,CA:TRUE
openssl req -new -key rsa-pkcs1.key -out rsa.csr -subj /CN=rsa
rm greedy.key
# kubeadm.crt and kubeadm.key are a real kubeadm 1.20.2's: RSA, PKCS#1, serial number 0, ten years.
#   kubeadm init phase certs ca --cert-dir "$folder"
