//! Files with certificates, as people keep them: one in DER, many as PEM, many in a PKCS #7 bundle (RFC 2315, RFC 5652)
//! in either form, or a folder of such files.

use std::path::Path;

use super::der::{Elements, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, only};
use super::{Certificate, Error};
use coldforge_base::digest::from_base64;
use coldforge_base::fs;

/// The bundles that the DoD publishes hold some 70 certificates in 130 KB.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The names of files in a folder that are looked into.
const SUFFIXES: [&str; 7] = ["cer", "crt", "der", "p7b", "p7c", "pem", "pkcs7"];
/// 1.2.840.113549.1.7.2, signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// The context tag of a bundle's content, and of the certificates in it.
const CONTEXT_0: u8 = 0xa0;

/// Reads the certificates of a file, or of the files of a folder that are named `.cer`, `.crt`, `.der`, `.pem`, `.p7b`,
/// `.p7c` or `.pkcs7`: each once, in the order of their thumbprints.
///
/// # Errors
/// [`Error::Input`] by the file that holds none, or something else; [`Error::NoInput`] for a folder without such files.
/// The operating system's, with the path.
pub fn from_path(path: &Path) -> Result<Vec<Certificate>, Error> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files.clear();
        for entry in std::fs::read_dir(path).map_err(fs::failed("list", path))? {
            files.push(entry.map_err(fs::failed("list", path))?.path());
        }
        let is_named = |file: &std::path::PathBuf| {
            let suffix = file.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
            SUFFIXES.contains(&suffix.as_str())
        };
        files.retain(is_named);
        files.sort();
        if files.is_empty() {
            return Err(Error::NoInput { path: path.to_owned() });
        }
    }
    let mut certificates = Vec::new();
    for file in files {
        let found = parse(&fs::read(&file, MAX_FILE_BYTES)?);
        certificates.extend(found.ok_or(Error::Input { path: file })?);
    }
    certificates.sort_by_cached_key(Certificate::thumbprint);
    certificates.dedup();
    Ok(certificates)
}

/// Returns the certificates in the content of a file; `None` if it holds none, or something that is none.
pub fn parse(bytes: &[u8]) -> Option<Vec<Certificate>> {
    if bytes.first() == Some(&SEQUENCE) {
        return block(bytes);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let mut certificates = Vec::new();
    let mut rest = text;
    // Each turn takes a mark.
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "PKCS7" | "CMS" => certificates.extend(block(&base64(body)?)?),
            // A private key among certificates is a mistake that must be reported.
            _ => return None,
        }
        rest = after;
    }
    Some(certificates).filter(|certificates| !certificates.is_empty())
}

/// Returns the certificate, or those of the bundle, that these bytes are.
fn block(der: &[u8]) -> Option<Vec<Certificate>> {
    if let Ok(certificate) = Certificate::parse(der) {
        return Some(vec![certificate]);
    }
    let mut bundle = Elements(only(der, SEQUENCE)?);
    let kind = bundle.demand(OBJECT_IDENTIFIER)?;
    if kind.body != SIGNED_DATA {
        return None;
    }
    let mut fields = Elements(only(bundle.demand(CONTEXT_0)?.body, SEQUENCE)?);
    fields.demand(INTEGER)?;
    fields.demand(SET)?;
    fields.demand(SEQUENCE)?;
    let mut list = Elements(fields.demand(CONTEXT_0)?.body);
    let certificates = list.by_ref().map(|element| Certificate::parse(element.whole).ok());
    let certificates = certificates.collect::<Option<Vec<_>>>()?;
    (list.0.is_empty() && !certificates.is_empty()).then_some(certificates)
}

/// Decodes base64, blanks and line ends left out.
fn base64(text: &str) -> Option<Vec<u8>> {
    from_base64(&text.split_ascii_whitespace().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::digest;

    #[test]
    fn base64_is_read_as_it_is_written() {
        for length in 0..50u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(base64(&digest::base64(&bytes)), Some(bytes));
        }
        assert_eq!(base64(" Zm9v\r\nYg=\t= "), Some(b"foob".to_vec()));
        for text in ["Zg", "Zg=", "Z===", "=Zg=", "Zm9!", "Zg==Zg=="] {
            assert_eq!(base64(text), None, "{text}");
        }
    }

    #[test]
    fn what_holds_no_certificate_is_told_from_what_does() {
        for bytes in [
            &b""[..],
            b"text",
            b"\x30\x80\0\0",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n",
            b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(parse(bytes).is_none(), "{bytes:?}");
        }
    }
}
