//! How long and how much an unwrapped key is used before the KMS is asked again: the settings
//! bound everyone, a keyring's own limits can only be tighter. And how long and how much a key seals
//! before the next one does, which is the keyring's own choice.

use envelope::session::MAX_VALUES;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::settings;

/// The limits in force for the keys of a keyring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Milliseconds from unwrapping.
    pub ttl_ms: u64,
    /// Values sealed and opened; `None`: no limit.
    pub uses: Option<u64>,
    /// Bytes of those values; `None`: no limit.
    pub bytes: Option<u64>,
    /// Milliseconds beyond `ttl_ms` while the KMS is out of reach.
    pub stale_ms: u64,
    /// Values sealed under nonces that follow one another, at least 1.
    pub session_values: u32,
}

impl Limits {
    /// Whether they bound how much a key is used.
    pub fn is_of_use(&self) -> bool {
        self.uses.is_some() || self.bytes.is_some()
    }
}

/// When a key has had its turn of sealing; `None`: never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Seconds since it was made.
    pub seconds: Option<u64>,
    /// Values sealed.
    pub seals: Option<u64>,
    /// Bytes of those values.
    pub bytes: Option<u64>,
}

/// A keyring's own limits, as they stand in `envelope.keyring.limits`; names and units are those
/// of the settings, where there is one.
#[derive(Deserialize, Serialize, Default, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct OwnLimits {
    /// Seconds, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_max_uses: Option<u64>,
    /// kB.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_max_bytes: Option<u64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_max_stale: Option<u64>,
    /// 1: every value's nonce is drawn anew. No setting bounds it, the format does.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_max_values: Option<u64>,
    /// Seconds; here and below 0 means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_after_seals: Option<u64>,
    /// kB.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_after_bytes: Option<u64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    cryptoperiod: Option<u64>,
}

impl OwnLimits {
    /// 22023 for JSON that is no object of these numbers.
    pub fn parse(json: &str) -> Result<OwnLimits> {
        match serde_json::from_str(json) {
            Ok(OwnLimits { cache_ttl: Some(0), .. }) | Err(_) => Err(Error::BadArgument(
                "limits must be an object of non-negative integers: cache_ttl (s, at least 1), \
                 cache_max_uses, cache_max_bytes (kB), cache_max_stale (s), session_max_values, \
                 rotate_after (s), rotate_after_seals, rotate_after_bytes (kB), cryptoperiod (s)"
                    .into(),
            )),
            Ok(limits) => Ok(limits),
        }
    }

    /// As they stand in the catalog. What cannot be read there, or comes from a later version,
    /// counts as none: the settings bound it, and no value must fail to open for it.
    pub fn stored(json: &str) -> OwnLimits {
        OwnLimits::parse(json).unwrap_or_default()
    }

    /// As they stand in the catalog.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::Corrupt(error.to_string()))
    }

    /// These, each made as tight as `other`'s where that is tighter; what `other` leaves out it leaves
    /// alone. `in_force` is the setting that counts where there is no cryptoperiod.
    pub fn tightened_by(&self, other: &OwnLimits, in_force: Option<u64>) -> OwnLimits {
        let cryptoperiod = match self.cryptoperiod {
            None => {
                other.cryptoperiod.filter(|period| tighter(in_force, Some(*period)) != in_force)
            }
            own => kept_or_tighter(own, other.cryptoperiod),
        };
        OwnLimits {
            cache_ttl: smaller(self.cache_ttl, other.cache_ttl),
            cache_max_uses: kept_or_tighter(self.cache_max_uses, other.cache_max_uses),
            cache_max_bytes: kept_or_tighter(self.cache_max_bytes, other.cache_max_bytes),
            cache_max_stale: smaller(self.cache_max_stale, other.cache_max_stale),
            session_max_values: kept_or_tighter(self.session_max_values, other.session_max_values),
            rotate_after: kept_or_tighter(self.rotate_after, other.rotate_after),
            rotate_after_seals: kept_or_tighter(self.rotate_after_seals, other.rotate_after_seals),
            rotate_after_bytes: kept_or_tighter(self.rotate_after_bytes, other.rotate_after_bytes),
            cryptoperiod,
        }
    }

    /// The settings, made tighter where these are.
    pub fn within_settings(&self) -> Limits {
        let shared = settings::cache_limits();
        let own_bytes = self.cache_max_bytes.map(|kb| kb.saturating_mul(1024));
        Limits {
            ttl_ms: shared.ttl_ms.min(ms(self.cache_ttl)),
            uses: tighter(shared.uses, self.cache_max_uses),
            bytes: tighter(shared.bytes, own_bytes),
            stale_ms: shared.stale_ms.min(ms(self.cache_max_stale)),
            session_values: session_values(self.session_max_values),
        }
    }

    /// When its key has had its turn.
    pub fn turn(&self) -> Turn {
        let some = |limit: Option<u64>| limit.filter(|limit| *limit > 0);
        let bytes = some(self.rotate_after_bytes).map(|kb| kb.saturating_mul(1024));
        Turn { seconds: some(self.rotate_after), seals: some(self.rotate_after_seals), bytes }
    }

    /// Seconds for which a key may seal before `envelope.check()` says so.
    pub fn cryptoperiod(&self) -> Option<u64> {
        self.cryptoperiod.or(settings::cryptoperiod()).filter(|seconds| *seconds > 0)
    }
}

fn ms(seconds: Option<u64>) -> u64 {
    seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(1000))
}

/// 0 and more than the format allows are the format's own limit.
fn session_values(own: Option<u64>) -> u32 {
    let own = own.and_then(|values| u32::try_from(values).ok()).filter(|values| *values > 0);
    own.map_or(MAX_VALUES, |values| values.min(MAX_VALUES))
}

/// The smaller of two limits, where 0 and `None` mean none.
fn tighter(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    let other = other.filter(|limit| *limit > 0);
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (limit, None) | (None, limit) => limit,
    }
}

/// The smaller of two limits of which 0 is the smallest; `None`: no limit.
fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// `own` as it stands, unless `other` is tighter. 0 and `None` are no limit.
fn kept_or_tighter(own: Option<u64>, other: Option<u64>) -> Option<u64> {
    let bound = own.filter(|limit| *limit > 0);
    let tightened = tighter(bound, other);
    if tightened == bound { own } else { tightened }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_limit_counts() {
        assert_eq!(tighter(None, None), None);
        assert_eq!(tighter(Some(5), None), Some(5));
        assert_eq!(tighter(Some(5), Some(0)), Some(5));
        assert_eq!(tighter(None, Some(5)), Some(5));
        assert_eq!(tighter(Some(5), Some(3)), Some(3));
        assert_eq!(tighter(Some(3), Some(5)), Some(3));
    }

    #[test]
    fn a_session_has_at_least_one_value_and_at_most_the_formats() {
        assert_eq!(session_values(None), MAX_VALUES);
        assert_eq!(session_values(Some(0)), MAX_VALUES);
        assert_eq!(session_values(Some(1)), 1);
        assert_eq!(session_values(Some(100)), 100);
        assert_eq!(session_values(Some(u64::MAX)), MAX_VALUES);
    }

    #[test]
    fn only_known_numbers_are_limits() {
        for bad in [
            "[]",
            "{\"cache_ttl\": 0}",
            "{\"x\": 1}",
            "{\"cache_ttl\": -1}",
            "{\"cache_ttl\": \"1\"}",
        ] {
            assert!(OwnLimits::parse(bad).is_err(), "{bad}");
        }
        assert!(OwnLimits::parse("{\"cache_ttl\": 1, \"cache_max_uses\": 2}").is_ok());
    }

    #[test]
    fn a_turn_ends_by_what_is_above_zero() {
        let turn = |json| OwnLimits::parse(json).map(|limits| limits.turn()).unwrap_or_default();
        assert_eq!(turn("{\"rotate_after\": 0, \"rotate_after_bytes\": 0}"), Turn::default());
        let all = "{\"rotate_after\": 1, \"rotate_after_seals\": 2, \"rotate_after_bytes\": 3}";
        let (seconds, seals, bytes) = (Some(1), Some(2), Some(3 * 1024));
        assert_eq!(turn(all), Turn { seconds, seals, bytes });
    }
}
