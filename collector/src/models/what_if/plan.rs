//! A checked plan: errors name the alternative, rule and key.

use serde::Deserialize;

use super::super::{Definition, ModelId};
use super::condition::RuleCondition;
use super::error::{PlanError, time};
use super::rule::{Added, Relabel, Rule, RuleAction};
use crate::limits::{PLAN_ALTERNATIVES_MAX, PLAN_BYTES_MAX, PLAN_RULES_MAX};
use crate::models::BuiltIn;
use crate::models::span::Span;
use crate::subscribe::Filter;

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// The models that are compared.
    pub(super) models: Vec<Definition>,
    /// The span whose figures are compared.
    pub(super) span: Span,
    pub(super) alternatives: Vec<Alternative>,
}

/// One alternative to the actual events.
#[derive(Debug)]
pub(super) struct Alternative {
    pub name: String,
    pub rules: Vec<Rule>,
    /// Sorted by time.
    pub added: Vec<Added>,
    /// The models of the plan, with this alternative's settings.
    pub models: Vec<BuiltIn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    models: Option<Vec<String>>,
    #[serde(default)]
    span: RawSpan,
    #[serde(default)]
    alternative: Vec<RawAlternative>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpan {
    from: Option<toml::Value>,
    until: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlternative {
    name: String,
    #[serde(default)]
    rule: Vec<RawRule>,
    #[serde(default)]
    model: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    model: String,
    settings: toml::Table,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RuleKind {
    Drop,
    Add,
    Shift,
    Scale,
    Relabel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    action: RuleKind,
    when: Option<String>,
    #[serde(rename = "type")]
    types: Option<String>,
    subject: Option<String>,
    source: Option<String>,
    from: Option<toml::Value>,
    until: Option<toml::Value>,
    by_s: Option<f64>,
    factor: Option<f64>,
    plus: Option<f64>,
    set: Option<Relabel>,
    event: Option<super::rule::RawAdded>,
}

impl Plan {
    /// The models that are compared.
    pub fn models(&self) -> &[Definition] {
        &self.models
    }

    /// Reads a plan; `known` are the existing models.
    pub fn parse(text: &str, known: &[Definition]) -> Result<Self, PlanError> {
        if text.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLong(text.len()));
        }
        let raw: RawPlan = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            PlanError::Text { line, message: error.message().to_owned() }
        })?;
        let models = match raw.models {
            None => known.to_vec(),
            Some(names) => chosen(&names, known)?,
        };
        let span = raw.span.checked()?;
        check_count("the alternatives", raw.alternative.len(), PLAN_ALTERNATIVES_MAX)?;
        let alternatives = raw.alternative.into_iter().map(|alternative| alternative.checked(&models));
        Ok(Self { alternatives: alternatives.collect::<Result<_, _>>()?, models, span })
    }
}

fn check_count(what: &str, given: usize, taken: usize) -> Result<(), PlanError> {
    if given <= taken { Ok(()) } else { Err(PlanError::TooMany { what: what.to_owned(), given, taken }) }
}

/// The models of these names, each once: every alternative has a state of its own for each.
fn chosen(names: &[String], known: &[Definition]) -> Result<Vec<Definition>, PlanError> {
    let mut models: Vec<Definition> = Vec::new();
    for name in names {
        let model = find("models", name, known)?;
        if models.iter().any(|other| other.id == model.id) {
            let message = format!("the model {} is listed twice; list it once", model.id);
            return Err(PlanError::Key { place: "models".to_owned(), message });
        }
        models.push(model);
    }
    Ok(models)
}

/// A model by its name, with or without a version.
fn find(place: &str, name: &str, known: &[Definition]) -> Result<Definition, PlanError> {
    let wanted: Option<ModelId> = name.parse().ok();
    let fits = |definition: &&Definition| match &wanted {
        Some(id) => definition.id == *id,
        None => definition.id.name() == name,
    };
    known.iter().filter(fits).max_by_key(|known| known.id.version()).cloned().ok_or_else(|| PlanError::Model {
        place: place.to_owned(),
        model: name.chars().take(64).collect(),
        known: known.iter().map(|known| known.id.to_string()).collect::<Vec<_>>().join(", "),
    })
}

impl RawSpan {
    fn checked(&self) -> Result<Span, PlanError> {
        let time =
            |key: &str, value: &Option<toml::Value>| value.as_ref().map(|value| time("span", key, value)).transpose();
        let span = Span { from: time("from", &self.from)?, until: time("until", &self.until)? };
        if span.from.zip(span.until).is_some_and(|(from, until)| until <= from) {
            return Err(PlanError::Key { place: "span".to_owned(), message: "`until` is not after `from`".to_owned() });
        }
        Ok(span)
    }
}

impl RawAlternative {
    fn checked(self, models: &[Definition]) -> Result<Alternative, PlanError> {
        let name: String = self.name.chars().take(64).collect();
        let place = format!("alternative {name:?}");
        check_count(&format!("{place}: the rules"), self.rule.len(), PLAN_RULES_MAX)?;
        let mut built: Vec<BuiltIn> = models.iter().map(|model| model.of.clone()).collect();
        for RawModel { model, settings } in self.model {
            let place = format!("{place}, model {model:?}");
            let wanted = find(&place, &model, models)?;
            let of = BuiltIn::new(wanted.of.name(), settings);
            let of = of.map_err(|error| PlanError::Settings { place, error })?;
            let at = models.iter().position(|known| known.id == wanted.id).expect("it was found among them");
            built[at] = of;
        }
        let (mut rules, mut added) = (Vec::new(), Vec::new());
        for (number, rule) in (1..).zip(self.rule) {
            let place = format!("{place}, rule {number}");
            match rule.kind_and_action(&place)? {
                (Some(event), _) => added.push(event),
                (None, Some(action)) => rules.push(rule_of(place, rule, action)?),
                (None, None) => unreachable!("a rule adds, or does something else"),
            }
        }
        added.sort_by_key(Added::time);
        Ok(Alternative { name, rules, added, models: built })
    }
}

fn rule_of(place: String, rule: RawRule, action: RuleAction) -> Result<Rule, PlanError> {
    let filter = Filter::new(rule.subject.as_deref(), rule.types.as_deref(), rule.source.as_deref());
    let filter = filter.map_err(|error| PlanError::Filter { place: place.clone(), error })?;
    let condition = rule.when.as_deref().map(RuleCondition::new).transpose();
    let condition = condition.map_err(|error| PlanError::Condition { place: place.clone(), error })?;
    let time =
        |key: &str, value: &Option<toml::Value>| value.as_ref().map(|value| time(&place, key, value)).transpose();
    let (from, until) = (time("from", &rule.from)?, time("until", &rule.until)?);
    Ok(Rule { from, until, filter, condition, action, place })
}

impl RawRule {
    /// The added event or the action; keys that the action does not have are refused.
    fn kind_and_action(&self, place: &str) -> Result<(Option<Added>, Option<RuleAction>), PlanError> {
        let refuse = |message: String| Err(PlanError::Key { place: place.to_owned(), message });
        let given = [
            ("by_s", self.by_s.is_some(), RuleKind::Shift),
            ("factor", self.factor.is_some(), RuleKind::Scale),
            ("plus", self.plus.is_some(), RuleKind::Scale),
            ("set", self.set.is_some(), RuleKind::Relabel),
            ("event", self.event.is_some(), RuleKind::Add),
        ];
        if let Some((key, ..)) = given.iter().find(|(_, is_given, of)| *is_given && *of != self.action) {
            return refuse(format!("`{key}` does not belong to the action {:?}", self.action).to_lowercase());
        }
        let chooses = [&self.when, &self.types, &self.subject, &self.source].iter().any(|key| key.is_some());
        if self.action == RuleKind::Add && (chooses || self.from.is_some() || self.until.is_some()) {
            return refuse("an added event has its own time and no condition".to_owned());
        }
        if [self.by_s, self.factor, self.plus].iter().flatten().any(|number| !number.is_finite()) {
            return refuse("a number is not finite".to_owned());
        }
        let action = match (self.action, &self.set, &self.event) {
            (RuleKind::Add, _, Some(event)) => return Ok((Some(event.checked(place)?), None)),
            (RuleKind::Add, _, None) => return refuse("`event` is missing: the event to add".to_owned()),
            (RuleKind::Relabel, None, _) => return refuse("`set` is missing: the values to report instead".to_owned()),
            (RuleKind::Relabel, Some(set), _) => RuleAction::Relabel(Box::new(set.checked(place)?)),
            (RuleKind::Drop, ..) => RuleAction::Drop,
            (RuleKind::Shift, ..) => match self.by_s {
                Some(by_s) => RuleAction::Shift { by_us: (by_s * 1e6) as i64 },
                None => return refuse("`by_s` is missing: the number of seconds".to_owned()),
            },
            (RuleKind::Scale, ..) if self.factor.is_none() && self.plus.is_none() => {
                return refuse("`factor` or `plus` is missing".to_owned());
            }
            (RuleKind::Scale, ..) => {
                RuleAction::Scale { factor: self.factor.unwrap_or(1.0), plus: self.plus.unwrap_or(0.0) }
            }
        };
        Ok((None, Some(action)))
    }
}
