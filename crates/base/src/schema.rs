//! JSON Schemas of the types that documents hold as texts and numbers.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::digest::Digest;
use crate::sid::Sid;
use crate::time::Moment;

/// Gives a type that is a text its pattern.
macro_rules! texts {
    ($($text:ty, $name:literal, $pattern:literal, $what:literal;)+) => {
        $(impl JsonSchema for $text {
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $what })
            }
        })+
    };
}

texts! {
    Digest, "Sha256", "^[0-9a-f]{64}$", "A SHA-256 in lower-case hex digits";
    Moment, "Moment", "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", "A moment in UTC (RFC 3339)";
    Sid, "Sid", "^S-1-", "A security identifier, such as S-1-5-32-544";
}
