#include "unit/grpc_certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALID = 10 * 24 * 3600 };

#define MUST(condition)                                                    \
    do {                                                                   \
        if (!(condition)) {                                                \
            fprintf(stderr, "grpc_certificates: %s failed\n", #condition); \
            abort();                                                       \
        }                                                                  \
    } while (0)

static void add_extension(X509 *certificate, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    MUST(extension && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void set_subject(X509 *certificate, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    MUST(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                    -1, 0) == 1);
}

/* By the authority, or by itself when there is none. */
static X509 *make(const char *name, long serial, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
    X509 *certificate = X509_new();
    MUST(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), VALID);
    X509_set_pubkey(certificate, key);
    set_subject(certificate, name);
    X509_set_issuer_name(certificate, X509_get_subject_name(ca ? ca : certificate));
    add_extension(certificate, ca ? ca : certificate, NID_basic_constraints,
                  ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(certificate, ca ? ca : certificate, NID_subject_alt_name,
                  "DNS:localhost,IP:127.0.0.1,IP:::1");
    MUST(X509_sign(certificate, ca_key ? ca_key : key, EVP_sha256()) > 0);
    return certificate;
}

static FILE *open_file(const char *directory, const char *name, const char *ending)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.%s", directory, name, ending);
    FILE *file = fopen(path, "w");
    MUST(file);
    return file;
}

static void save(const char *directory, const char *name, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = open_file(directory, name, "pem");
    MUST(PEM_write_X509(file, certificate) == 1);
    fclose(file);
    file = open_file(directory, name, "key");
    MUST(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

void grpc_certificates(const char *directory)
{
    static const char *const names[] = {"server", "client", "other"};
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    MUST(ca_key);
    X509 *ca = make("test authority", 1, ca_key, NULL, NULL);
    save(directory, "ca", ca, ca_key);
    for (long i = 0; i < 3; i++) {
        int by_nobody = i == 2;
        EVP_PKEY *key = EVP_EC_gen("P-256");
        MUST(key);
        X509 *certificate =
            make(names[i], 2 + i, key, by_nobody ? NULL : ca, by_nobody ? NULL : ca_key);
        save(directory, names[i], certificate, key);
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
    X509_free(ca);
    EVP_PKEY_free(ca_key);
}
