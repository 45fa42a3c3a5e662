//! Values read back from the documents that they were serialized into.

use std::collections::BTreeSet;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value as Json;

use super::{AuditFlags, Content, Data, Value, ValueType};
use coldforge_base::{hex, utf16};

/// The members of a serialized value.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    #[serde(rename = "type")]
    kind: String,
    data: Json,
    hex: Option<String>,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Members::deserialize(deserializer)?;
        members.value().ok_or_else(|| D::Error::custom(format_args!("this is not a value of type {:?}", members.kind)))
    }
}

impl Members {
    fn value(&self) -> Option<Value> {
        if let Some(kind) = value_type(&self.kind) {
            let data = match &self.hex {
                Some(hex) => hex::decode(hex)?,
                None => encoded(kind, &self.data)?,
            };
            return Some(Value::Data(Data { kind, data }));
        }
        if let Some(hex) = &self.hex {
            let ticks = i64::from_le_bytes(hex::decode(hex)?.try_into().ok()?);
            let number = self.data.as_u64().filter(|_| self.kind == "number")?;
            return Some(Value::Interval { number: u32::try_from(number).ok()?, ticks });
        }
        let text = || self.data.as_str().map(str::to_owned);
        Some(match self.kind.as_str() {
            "number" => Value::Number(u32::try_from(self.data.as_u64()?).ok()?),
            "flag" => Value::Flag(self.data.as_bool()?),
            "text" => Value::Text(text()?),
            "sddl" => Value::Sddl(text()?),
            "sids" => {
                let sids = self.data.as_array()?.iter().map(|sid| sid.as_str()?.parse().ok());
                Value::Sids(sids.collect::<Option<BTreeSet<_>>>()?)
            }
            "audit" => {
                let words: Vec<&str> = self.data.as_array()?.iter().map(Json::as_str).collect::<Option<_>>()?;
                let flags = AuditFlags { success: words.contains(&"success"), failure: words.contains(&"failure") };
                let is_known = words.iter().all(|word| ["success", "failure"].contains(word));
                Value::Audit(Some(flags).filter(|_| is_known)?)
            }
            "certificate" => Value::Certificate(hex::decode(self.data.as_str()?)?),
            "content" => Value::Content(serde_json::from_value::<Content>(self.data.clone()).ok()?),
            "deletion" => Some(Value::Deletion).filter(|_| self.data.is_null())?,
            _ => return None,
        })
    }
}

/// Returns the type of this name, or of this number after `0x`.
fn value_type(name: &str) -> Option<ValueType> {
    let number = |digits: &str| u32::try_from(hex::number(digits)?).ok().map(ValueType);
    ValueType::from_name(name).or_else(|| name.strip_prefix("0x").and_then(number))
}

/// Returns the bytes of the data of a registry value.
fn encoded(kind: ValueType, data: &Json) -> Option<Vec<u8>> {
    Some(match kind {
        ValueType::DWORD => u32::try_from(data.as_u64()?).ok()?.to_le_bytes().to_vec(),
        ValueType::QWORD => data.as_u64()?.to_le_bytes().to_vec(),
        ValueType::SZ | ValueType::EXPAND_SZ => utf16::encode_with_nul(data.as_str()?),
        ValueType::MULTI_SZ => {
            let texts = data.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
            utf16::encode_list(&texts.collect::<Option<Vec<_>>>()?)
        }
        _ => hex::decode(data.as_str()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_value_is_read_back_as_it_was_written() {
        let sids = ["S-1-5-32-544", "S-1-1-0"].iter().map(|sid| sid.parse().unwrap()).collect();
        for value in [
            Value::Number(7),
            Value::Interval { number: 42, ticks: -37_108_517_437_440 },
            Value::Flag(true),
            Value::Text("a\u{0}b".to_owned()),
            Value::Sids(sids),
            Value::Sids(BTreeSet::new()),
            Value::Audit(AuditFlags { success: false, failure: true }),
            Value::Audit(AuditFlags::default()),
            Value::Sddl("D:(A;;GA;;;SY)".to_owned()),
            Value::Certificate(vec![0x30, 0]),
            Value::Content(Content::of(b"abc".to_vec())),
            Value::Deletion,
        ] {
            let written = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value, "{written}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            r#"{"type":"REG_DWORD","data":4294967296}"#,
            r#"{"type":"REG_DWORD","data":"05"}"#,
            r#"{"type":"REG_SZ","data":"a","hex":"6"}"#,
            r#"{"type":"REG_SZ","data":"a","note":"b"}"#,
            r#"{"type":"REG_SZ","data":"a","data":"b"}"#,
            r#"{"type":"REG_ODD","data":"a"}"#,
            r#"{"type":"flag","data":true,"hex":"01"}"#,
            r#"{"type":"number","data":1,"hex":"01"}"#,
            r#"{"type":"audit","data":["success","other"]}"#,
            r#"{"type":"deletion","data":1}"#,
            r#"{"type":"0x+5","data":"00"}"#,
            r#"{"data":1}"#,
        ] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
    }
}
