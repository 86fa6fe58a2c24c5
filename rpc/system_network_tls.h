// Mutual TLS 1.3 over a connected stream, by OpenSSL, whose records are put together and taken apart in memory: no
// system call is its own. kj-tls isn't used: it tells nothing of a certificate but its common name, allows TLS 1.2, and
// moves 8 KiB at a time.
#pragma once
#include <kj/async-io.h>
#include <kj/refcount.h>

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/security/certificates.h"
#include "common/security/openssl.h"
#include "common/task.h"

namespace cairn {

class TlsContext final : public kj::Refcounted {
 public:
  // `pin`: SHA-256 of the authority's certificate, when that itself isn't known yet. `revoked` must outlive the result.
  static Result<kj::Own<TlsContext>> make(const TlsMaterial& material, const std::vector<Revocation>& revoked,
                                          const std::string& pin = {});
  TlsContext(const std::vector<Revocation>& revoked, std::string pin);  // for make()

  // `strangers`: let in those who show no certificate.
  openssl::Connection begin(bool serves, bool strangers);
  const BIO_METHOD* memory() const { return memory_.get(); }
  // Of its own certificate, if it has one.
  const std::optional<CertificateInfo>& identity() const { return identity_; }
  // What is wrong with a certificate that the authority has signed: X509_V_OK or another of OpenSSL's codes.
  int judge(x509_st* certificate) const;
  const std::string& pin() const { return pin_; }

 private:
  Status load(const TlsMaterial& material);

  const std::vector<Revocation>& revoked_;
  const std::string pin_;
  openssl::Context context_;
  openssl::BioMethod memory_;
  std::optional<CertificateInfo> identity_;
};

class TlsStream : public kj::AsyncIoStream {
 public:
  // Absent: it has shown no certificate.
  virtual const std::optional<CertificateInfo>& peer() const = 0;
  // Both directions end; whoever reads or writes finds out.
  virtual void sever() = 0;
};

// What may arrive before the other side has proven who it is.
constexpr size_t HANDSHAKE_BYTES_MAX = 48u << 10;

// Rejects, with the reason in words for people, whoever isn't of this cluster. Callers set the deadline.
Task<kj::Own<TlsStream>> tlsConnect(kj::Own<TlsContext> context, kj::Own<kj::AsyncIoStream> stream);
Task<kj::Own<TlsStream>> tlsAccept(kj::Own<TlsContext> context, kj::Own<kj::AsyncIoStream> stream, bool strangers);

}  // namespace cairn
