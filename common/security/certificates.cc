#include "common/security/certificates.h"

#include <kj/debug.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "common/security/openssl.h"
#include "common/security/secrets.h"

namespace cairn {

namespace {

using openssl::takeErrors;

constexpr size_t SERIAL_BYTES = 16;
constexpr int KEY_BITS = 256;

// What can only fail for want of memory.
void must(bool done, const char* what) {
  KJ_ASSERT(done, what, takeErrors());
}

openssl::Bio bioOf(const std::string& text) {
  openssl::Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  must(bio != nullptr, "BIO_new_mem_buf");
  return bio;
}

template <typename Write>
std::string pemOf(Write write) {
  openssl::Bio bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && write(bio.get()) == 1, "writing PEM");
  char* text = nullptr;
  long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

// An encrypted key would have OpenSSL ask for a passphrase on the terminal.
int noPassphrase(char*, int, int, void*) {
  return 0;
}

Result<openssl::Key> readKey(const std::string& pem) {
  openssl::Key key(PEM_read_bio_PrivateKey(bioOf(pem).get(), nullptr, noPassphrase, nullptr));
  if (key == nullptr) {
    return Error{EINVAL, "no private key in PEM: " + takeErrors()};
  }
  return key;
}

Result<openssl::Certificate> readX509(const std::string& pem) {
  openssl::Certificate certificate(PEM_read_bio_X509(bioOf(pem).get(), nullptr, noPassphrase, nullptr));
  if (certificate == nullptr) {
    return Error{EINVAL, "no certificate in PEM: " + takeErrors()};
  }
  return certificate;
}

Result<openssl::Request> readRequest(const std::string& pem) {
  if (pem.size() > PEM_BYTES_MAX) {
    return Error{EINVAL, "the certificate request is too long"};
  }
  openssl::Request request(PEM_read_bio_X509_REQ(bioOf(pem).get(), nullptr, noPassphrase, nullptr));
  EVP_PKEY* key = request == nullptr ? nullptr : X509_REQ_get0_pubkey(request.get());
  bool isOurs = key != nullptr && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) == KEY_BITS;
  if (!isOurs || X509_REQ_verify(request.get(), key) != 1) {
    return Error{EINVAL, "that is no certificate request for a P-256 key, signed by that key: " + takeErrors()};
  }
  return request;
}

void setSubject(X509_NAME* subject, const std::string& text) {
  must(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()),
                                  -1, 0) == 1,
       "naming a certificate");
}

void setSerial(X509* certificate) {
  std::string bytes = secretBytes(SERIAL_BYTES);
  bytes[0] = static_cast<char>((bytes[0] & 0x7f) | 0x40);  // positive, and always of the same length
  openssl::BigNumber number(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), SERIAL_BYTES, nullptr));
  must(number != nullptr && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr, "serial");
}

void extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  openssl::Extension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  must(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extending a certificate");
}

openssl::Certificate begin(EVP_PKEY* key, const std::string& subject, Validity validity) {
  openssl::Certificate certificate(X509_new());
  must(certificate != nullptr, "X509_new");
  must(X509_set_version(certificate.get(), X509_VERSION_3) == 1, "version");
  setSerial(certificate.get());
  must(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), validity.from) != nullptr, "time");
  must(ASN1_TIME_set(X509_getm_notAfter(certificate.get()), validity.until) != nullptr, "time");
  setSubject(X509_get_subject_name(certificate.get()), subject);
  must(X509_set_pubkey(certificate.get(), key) == 1, "public key");
  return certificate;
}

int64_t secondsOf(const ASN1_TIME* time) {
  std::tm parts{};
  must(ASN1_TIME_to_tm(time, &parts) == 1, "a certificate's time");
  return static_cast<int64_t>(timegm(&parts));
}

std::string subjectOf(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_entry_count(subject) != 1) {
    return {};
  }
  ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

std::string serialOf(X509* certificate) {
  openssl::BigNumber number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  must(number != nullptr, "serial");
  std::string bytes(static_cast<size_t>(BN_num_bytes(number.get())), '\0');
  BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(bytes.data()));
  return hexText(bytes);
}

// Who only ever calls can't pass for a server: the other side's TLS refuses it.
std::string usageOf(PeerRole role) {
  bool serves = role == PeerRole::MASTER || role == PeerRole::CHUNKSERVER;
  return serves ? "critical,serverAuth,clientAuth" : "critical,clientAuth";
}

}  // namespace

std::string makeKey() {
  openssl::Key key(EVP_EC_gen("P-256"));
  must(key != nullptr, "making a key");
  return pemOf(
      [&](BIO* bio) { return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

Authority makeAuthority(ClusterId cluster, int64_t now) {
  Authority authority;
  authority.keyPem = makeKey();
  auto key = readKey(authority.keyPem);
  auto certificate =
      begin(key.value().get(), "authority." + toText(cluster), {now - CLOCK_SKEW_SECONDS, now + AUTHORITY_SECONDS});
  must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) == 1, "issuer");
  extend(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  extend(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign");
  extend(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash");
  must(X509_sign(certificate.get(), key.value().get(), EVP_sha256()) > 0, "signing");
  authority.certificatePem = pemOf([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
  return authority;
}

Result<std::string> makeRequest(const std::string& keyPem) {
  auto key = readKey(keyPem);
  if (!key.ok()) {
    return key.error();
  }
  openssl::Request request(X509_REQ_new());
  must(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1, "request");
  must(X509_REQ_set_pubkey(request.get(), key.value().get()) == 1, "public key");
  must(X509_REQ_sign(request.get(), key.value().get(), EVP_sha256()) > 0, "signing");
  return pemOf([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

Result<std::string> issueCertificate(const Authority& authority, const std::string& requestPem,
                                     const CertifiedName& name, Validity validity) {
  auto usable = checkCertifiedName(name.name);
  if (!usable.ok()) {
    return usable.error();
  }
  auto request = readRequest(requestPem);
  auto issuerKey = readKey(authority.keyPem);
  auto issuer = readX509(authority.certificatePem);
  for (const Error* wrong : {request.ok() ? nullptr : &request.error(), issuerKey.ok() ? nullptr : &issuerKey.error(),
                             issuer.ok() ? nullptr : &issuer.error()}) {
    if (wrong != nullptr) {
      return *wrong;
    }
  }
  X509* signer = issuer.value().get();
  validity.from = std::max(validity.from, secondsOf(X509_get0_notBefore(signer)));
  validity.until = std::min(validity.until, secondsOf(X509_get0_notAfter(signer)));
  auto certificate = begin(X509_REQ_get0_pubkey(request.value().get()), commonName(name), validity);
  must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer)) == 1, "issuer");
  extend(certificate.get(), signer, NID_basic_constraints, "critical,CA:FALSE");
  extend(certificate.get(), signer, NID_key_usage, "critical,digitalSignature");
  extend(certificate.get(), signer, NID_ext_key_usage, usageOf(name.role));
  extend(certificate.get(), signer, NID_authority_key_identifier, "keyid:always");
  must(X509_sign(certificate.get(), issuerKey.value().get(), EVP_sha256()) > 0, "signing");
  return pemOf([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
}

Result<CertificateInfo> readCertificate(const std::string& pem) {
  auto certificate = readX509(pem);
  if (!certificate.ok()) {
    return certificate.error();
  }
  return readCertificate(certificate.value().get());
}

Result<CertificateInfo> readCertificate(x509_st* x509) {
  auto name = parseCommonName(subjectOf(x509));
  if (!name.ok()) {
    return name.error();
  }
  CertificateInfo info;
  info.name = name.value();
  info.validity = {secondsOf(X509_get0_notBefore(x509)), secondsOf(X509_get0_notAfter(x509))};
  info.serial = serialOf(x509);
  return info;
}

Result<std::string> fingerprintOf(const std::string& certificatePem) {
  auto certificate = readX509(certificatePem);
  if (!certificate.ok()) {
    return certificate.error();
  }
  return fingerprintOf(certificate.value().get());
}

std::string fingerprintOf(x509_st* certificate) {
  unsigned char* der = nullptr;
  int size = i2d_X509(certificate, &der);
  must(size > 0, "encoding a certificate");
  std::string digest = sha256({reinterpret_cast<char*>(der), static_cast<size_t>(size)});
  OPENSSL_free(der);
  return digest;
}

Result<std::string> requestKeyDigest(const std::string& requestPem) {
  auto request = readRequest(requestPem);
  if (!request.ok()) {
    return request.error();
  }
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(X509_REQ_get0_pubkey(request.value().get()), &der);
  must(size > 0, "encoding a key");
  std::string digest = sha256({reinterpret_cast<char*>(der), static_cast<size_t>(size)});
  OPENSSL_free(der);
  return digest;
}

Status checkPair(const std::string& keyPem, const std::string& certificatePem) {
  auto key = readKey(keyPem);
  auto certificate = readX509(certificatePem);
  if (!key.ok() || !certificate.ok()) {
    return key.ok() ? certificate.error() : key.error();
  }
  if (X509_check_private_key(certificate.value().get(), key.value().get()) != 1) {
    ERR_clear_error();
    return Error{EINVAL, "the certificate is for another private key"};
  }
  return {};
}

Validity validityFrom(int64_t now, int64_t seconds, int64_t after) {
  return {std::max(now - CLOCK_SKEW_SECONDS, after + 1), now + seconds};
}

int64_t renewalTime(Validity validity) {
  return validity.until - (validity.until - validity.from - CLOCK_SKEW_SECONDS) / 3;
}

}  // namespace cairn
