//! From FunctionName and Qualifier to what is meant: a function, one of its versions, or an alias.

use std::sync::Arc;

use lambkin_core::FunctionSpec;
use lambkin_model::{AwsError, RequestContext};

use super::Inner;
use super::catalogue::{Entry, VersionEntry};
use super::names::{self, LATEST, Target, Version, is_number};
use super::record::{AliasRecord, Snapshot};

/// What a request means, as of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// As the request names it.
    pub(crate) target: Target,
    /// The function with all that belongs to it.
    pub(crate) entry: Arc<Entry>,
    /// The published version that is named, or that the named alias leads to when it makes no choice; none
    /// means `$LATEST`.
    pub(crate) published: Option<Arc<VersionEntry>>,
    /// The alias, if one is named.
    pub(crate) alias: Option<Arc<AliasRecord>>,
}

impl Found {
    /// The qualifier under which the settings of what is meant are kept.
    pub(crate) fn qualifier(&self) -> &str {
        self.target.qualifier.as_deref().unwrap_or(LATEST)
    }

    /// Code and configuration of the version that is meant.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        match &self.published {
            Some(version) => &version.record.snapshot,
            None => &self.entry.record.current,
        }
    }

    /// What an invocation is to run. An alias with weights throws `dice`: a number from 0 up to, but not
    /// including, 1.
    ///
    /// # Errors
    /// The name of the state in which nothing can be run.
    pub(crate) fn route(&self, dice: impl FnOnce() -> f64) -> Result<Arc<FunctionSpec>, &'static str> {
        let additional = self
            .alias
            .as_ref()
            .and_then(|alias| alias.additional)
            .filter(|(_, weight)| dice() < *weight)
            .and_then(|(number, _)| self.entry.versions.get(&number));
        match additional.or(self.published.as_ref()) {
            Some(version) => version.spec.clone().ok_or_else(|| version.record.state.is.name()),
            None => self.entry.spec.clone().ok_or_else(|| self.entry.record.state.is.name()),
        }
    }
}

impl Inner {
    /// Reads FunctionName and Qualifier, asks whether the caller may run the operation, named as in IAM, and finds
    /// what they mean.
    ///
    /// # Errors
    /// Those of [`names::read`]; `AccessDeniedException`; "Function not found" with the qualifier in the ARN.
    pub(crate) fn find(
        &self,
        context: &RequestContext,
        operation: &str,
        name: Option<&str>,
        qualifier: Option<&str>,
    ) -> Result<Found, AwsError> {
        let target = names::read(context, name, qualifier)?;
        let entry = self.catalogue.get(&target.scope, &target.name);
        self.authorize(context, operation, &target, entry.as_deref())?;
        Self::find_in(target, entry)
    }

    /// Finds what a target means.
    ///
    /// # Errors
    /// "Function not found" with the qualifier in the ARN.
    pub(crate) fn find_target(&self, target: Target) -> Result<Found, AwsError> {
        let entry = self.catalogue.get(&target.scope, &target.name);
        Self::find_in(target, entry)
    }

    fn find_in(target: Target, entry: Option<Arc<Entry>>) -> Result<Found, AwsError> {
        let Some(entry) = entry else { return Err(target.not_found()) };
        let (version, alias) = match target.qualifier.as_deref() {
            None | Some(LATEST) => (Some(Version::Latest), None),
            Some(number) if is_number(number) => (Version::parse(number), None),
            Some(name) => {
                let alias = entry.aliases.get(name).cloned();
                (alias.as_ref().map(|alias| alias.version), alias)
            }
        };
        let published = match version {
            None => return Err(target.not_found()),
            Some(Version::Latest) => None,
            Some(Version::Number(number)) => match entry.versions.get(&number) {
                Some(version) => Some(version.clone()),
                None => return Err(target.not_found()),
            },
        };
        Ok(Found { target, entry, published, alias })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::routing::Dice;
    use super::*;
    use crate::lambda::tests::routed;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn an_alias_sends_each_version_its_share(weight in 0.0..=1.0f64, seed in any::<u64>()) {
            const THROWS: usize = 4000;
            let (found, dice) = (routed(Version::Number(1), Some((2, weight))), Dice::with_seed(seed));
            let second = (0..THROWS).filter(|_| {
                &*found.route(|| dice.throw()).unwrap().version == "2"
            }).count();
            let share = f64::from(u32::try_from(second).unwrap()) / 4000.0;
            // Six standard deviations of the binomial distribution at its widest.
            prop_assert!((share - weight).abs() < 0.048, "{share} of {weight}");
            if weight == 0.0 { prop_assert_eq!(second, 0); }
            if weight == 1.0 { prop_assert_eq!(second, THROWS); }
        }
    }

    #[test]
    fn without_weights_no_dice_are_thrown() {
        for (version, name) in
            [(Version::Number(1), "1"), (Version::Number(2), "2"), (Version::Latest, "$LATEST")]
        {
            let spec = routed(version, None).route(|| panic!("thrown")).unwrap();
            assert_eq!(&*spec.version, name);
        }
    }
}
