use std::fmt;
use std::str::FromStr;

use crate::problem::Fault;

/// The machine's name, which is also its node name: a lower-case RFC 1123 name of at most 63
/// characters, since Linux ends a host name at 64 and a Kubernetes label value at 63.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

impl Hostname {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.len() > 63 {
            return Err(Fault::new(format!("is {} characters long", text.len()))
                .hint("a host name has at most 63 characters"));
        }
        check_subdomain(text)?;
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err(Fault::new("is an address, not a name").hint("for example cp1"));
        }
        if text == "localhost" {
            return Err(Fault::new("localhost names every machine").hint("for example cp1"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Refuses what is not an RFC 1123 label: 1 to 63 of `a-z0-9-`, no `-` at either end.
pub(crate) fn check_label(text: &str) -> Result<(), Fault> {
    const HINT: &str = "use 1 to 63 of a-z, 0-9 and -, starting and ending with a letter or digit";
    if text.is_empty() {
        return Err(Fault::new("is empty").hint(HINT));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Fault::new("has upper-case letters").hint("write it in lower case"));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() > 63 || !text.bytes().all(allowed) {
        return Err(Fault::new("is not an RFC 1123 label").hint(HINT));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(Fault::new("starts or ends with -").hint(HINT));
    }
    Ok(())
}

/// Refuses what is not dot-separated RFC 1123 labels of at most 253 characters.
pub(crate) fn check_subdomain(text: &str) -> Result<(), Fault> {
    if text.len() > 253 {
        return Err(Fault::new("is longer than 253 characters"));
    }
    text.split('.').try_for_each(check_label)
}
