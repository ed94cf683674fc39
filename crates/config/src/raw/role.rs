//! `[roles.*]` as written.

use crate::at::{At, Text, Texts};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// What a host does, and how hosts that do it are operated on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRole {
    /// Whether migrations run here: the deploy host; default false.
    #[serde(default)]
    pub(crate) migrations: bool,
    /// Which stage of the built-in pipeline deploys the role; default `remaining`.
    #[serde(default)]
    pub(crate) stage: RawRoleStage,
    /// The services that must run the new build afterwards; default: none.
    #[serde(default)]
    pub(crate) services: Vec<RawService>,
    /// The HAProxy backends that hold servers of this role, on every load balancer; default: none.
    #[serde(default)]
    pub(crate) backends: Vec<Text>,
    /// How these servers are named: `{label}` is the host's first label, `{host}` its whole name; default `{label}`.
    pub(crate) server: Option<Text>,
    /// How many hosts of the role in one fleet may be out of service at once, for whatever reason: a number, or a
    /// percentage, which is rounded down but is at least 1; default 1.
    pub(crate) max_unavailable: Option<At<RawLimit>>,
    /// How sessions leave a server, in a role with backends.
    pub(crate) drain: Option<At<RawDrain>>,
    /// How a role without backends goes quiet before its host is operated on. Such a role must say so.
    pub(crate) quiet: Option<At<RawQuiet>>,
    /// A URL that is asked on the host itself before it goes back into service: a 2xx is healthy.
    pub(crate) health: Option<Text>,
    /// How long the host must stay healthy without a break before it counts; default `5s`.
    pub(crate) healthy_for: Option<Text>,
    /// How long the host may take to become healthy, and UP on the load balancers; default `5m`.
    pub(crate) healthy_deadline: Option<Text>,
}

/// The stage of the built-in pipeline that deploys a role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawRoleStage {
    /// The gitaly stage, before the remaining roles.
    Gitaly,
    /// The stage of all remaining roles.
    #[default]
    Remaining,
}

/// A service and how it gets to run the new build.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawService {
    /// The service, as the profile's commands know it.
    pub(crate) name: Text,
    /// How it is told.
    pub(crate) action: RawAction,
    /// The folders on hosts whose files the service has in memory: a patch of others is nothing to it; default: it may have
    /// loaded any file of the package. `[]`: it has loaded none that a patch could change.
    pub(crate) loads: Option<Vec<Text>>,
}

/// How a service is told to run the new build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawAction {
    /// Gracefully, by the profile's `hup`.
    Hup,
    /// By the profile's `restart`.
    Restart,
}

/// How sessions leave a server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDrain {
    /// How long sessions get to end by themselves; default `60s`.
    pub(crate) deadline: Option<Text>,
    /// What is done when they have not; default `fail`.
    #[serde(default)]
    pub(crate) then: RawAtDeadline,
}

/// What is done with what is still busy when a deadline comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawAtDeadline {
    /// The host goes back into service, and the run halts.
    #[default]
    Fail,
    /// What is left is cut.
    Kill,
    /// The host is operated on all the same.
    Proceed,
}

/// How a role without backends goes quiet.
#[derive(Debug)]
pub(crate) enum RawQuiet {
    /// `"none"`
    None,
    /// `"graceful"`
    Graceful,
    /// A table.
    StopFetching(RawStopFetching),
}

/// Tells a service to take no more work, and waits for the work in hand.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStopFetching {
    /// The command that tells it to take no more work.
    pub(crate) stop_fetching: Texts,
    /// The command that exits 0 when nothing is being worked on.
    pub(crate) idle: Texts,
    /// How long that may take; default `120s`.
    pub(crate) deadline: Option<Text>,
    /// What is done when it takes longer; default `fail`.
    #[serde(default)]
    pub(crate) then: RawAtDeadline,
}

impl<'de> Deserialize<'de> for RawQuiet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuietVisitor;

        impl<'de> Visitor<'de> for QuietVisitor {
            type Value = RawQuiet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", \"graceful\" or a table")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawQuiet, E> {
                match text {
                    "none" => Ok(RawQuiet::None),
                    "graceful" => Ok(RawQuiet::Graceful),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawQuiet, A::Error> {
                RawStopFetching::deserialize(MapAccessDeserializer::new(map))
                    .map(RawQuiet::StopFetching)
            }
        }

        deserializer.deserialize_any(QuietVisitor)
    }
}

impl JsonSchema for RawQuiet {
    fn schema_name() -> Cow<'static, str> {
        "RawQuiet".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How a role without backends goes quiet.",
            "oneOf": [
                { "type": "string", "const": "none", "description": "Nothing needs to be done." },
                {
                    "type": "string",
                    "const": "graceful",
                    "description": "The service hands over by itself when it is told to run the new build."
                },
                generator.subschema_for::<RawStopFetching>(),
            ]
        })
    }
}

/// A number or a percentage, as text.
#[derive(Debug)]
pub(crate) struct RawLimit(pub(crate) String);

impl<'de> Deserialize<'de> for RawLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor;

        impl Visitor<'_> for LimitVisitor {
            type Value = RawLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a percentage such as \"25%\"")
            }

            fn visit_i64<E>(self, number: i64) -> Result<RawLimit, E> {
                Ok(RawLimit(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<RawLimit, E> {
                Ok(RawLimit(text.to_owned()))
            }
        }

        deserializer.deserialize_any(LimitVisitor)
    }
}

impl JsonSchema for RawLimit {
    fn schema_name() -> Cow<'static, str> {
        "RawLimit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^[0-9]+%$" },
            ]
        })
    }
}
