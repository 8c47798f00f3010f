//! From a view to its table: what this backend knows of it, and the plans of its statements, until either changes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys;

use super::chosen::Chosen;
use super::{Written, not_run, statements};
use crate::error::{Result, ViewError};
use crate::pg::relation::display_name;
use crate::pg::row_key::{self, KeyColumn};
use crate::pg::saved_plan::SavedPlan;
use crate::pg::state::Flag;
use crate::pg::trigger::TriggerCall;
use crate::pg::view::{self, View};
use crate::pg::{attribute, column, relcache};

/// Plans of one view. An application writes few sets of columns; one that writes more has them made anew.
const MOST_PLANS: usize = 64;

thread_local! {
    /// By the trigger's OID.
    static WAYS: RefCell<HashMap<pg_sys::Oid, Rc<Way>>> = RefCell::default();
}

/// A change came while the ways could not be marked.
static ALL_STALE: Flag = Flag::new(false);

/// A view and its table.
pub struct Way {
    pub view: pg_sys::Oid,
    pub table: pg_sys::Oid,
    /// What the view shows.
    pub shown: View,
    pub pairs: Vec<Pair>,
    /// Places of the columns that are the table's as they are, each of them once.
    pub stored: Vec<usize>,
    /// The view's columns that say whether a row still is what it was; with those of the key.
    pub image: Vec<usize>,
    /// Places among the image.
    pub key: Vec<(usize, KeyColumn)>,
    plans: RefCell<HashMap<(Written, Chosen), Rc<SavedPlan>>>,
    is_stale: Cell<bool>,
}

/// Places of the view's columns for one value.
pub struct Pair {
    pub opened: usize,
    pub input: usize,
    pub sealed: usize,
}

/// The way of a trigger's view.
pub fn of(call: &TriggerCall<'_>) -> Result<Rc<Way>> {
    relcache::on_change(relation_changed);
    if ALL_STALE.take() {
        WAYS.take();
    }
    let known = WAYS.with_borrow(|ways| ways.get(&call.oid()).cloned());
    if let Some(way) = known.filter(|way| !way.is_stale.get()) {
        return Ok(way);
    }
    let way = Rc::new(read(call)?);
    WAYS.with_borrow_mut(|ways| {
        ways.retain(|_, way| !way.is_stale.get());
        ways.insert(call.oid(), way.clone());
    });
    Ok(way)
}

fn relation_changed(relation: pg_sys::Oid) {
    let marked = WAYS.try_with(|ways| {
        let Ok(ways) = ways.try_borrow() else { return false };
        for way in ways.values() {
            if relation == pg_sys::InvalidOid || relation == way.view || relation == way.table {
                way.is_stale.set(true);
            }
        }
        true
    });
    if marked != Ok(true) {
        ALL_STALE.set(true);
    }
}

fn read(call: &TriggerCall<'_>) -> Result<Way> {
    let view = call.relation_oid();
    let shown = view::of(view).ok_or(ViewError::Misuse(
        "must stand on a view that shows the rows of one table as they are",
    ))?;
    let table = shown.table;
    let pairs = pairs(call, view, &shown)?;
    let columns = &shown.columns;
    let is_first = |&at: &usize| {
        let number = columns[at].stored;
        number.is_some() && !columns[..at].iter().any(|other| other.stored == number)
    };
    let stored: Vec<usize> = (0..columns.len()).filter(is_first).collect();
    let is_given = |&at: &usize| {
        columns[at].stored.is_some_and(|number| !attribute::is_generated(table, number))
    };
    let image: Vec<usize> = stored.iter().copied().filter(is_given).collect();
    let no_key = || ViewError::NoRowKey { table: display_name(table) };
    let key = row_key::of(table).ok_or_else(no_key)?;
    let place = |column: KeyColumn| {
        let is_it = |&at: &usize| shown.columns[at].stored == Some(column.number);
        Some((image.iter().position(is_it)?, column))
    };
    let key = key.into_iter().map(place).collect::<Option<Vec<_>>>().ok_or_else(no_key)?;
    let (plans, is_stale) = (RefCell::default(), Cell::new(false));
    Ok(Way { view, table, shown, pairs, stored, image, key, plans, is_stale })
}

/// What the trigger's arguments say.
fn pairs(call: &TriggerCall<'_>, view: pg_sys::Oid, shown: &View) -> Result<Vec<Pair>> {
    let arguments: Vec<&CStr> = call.arguments().collect();
    let place = |name: &CStr| {
        let is_it = |at: &usize| {
            let number = i16::try_from(at + 1).unwrap_or(i16::MAX);
            column::raw_name(view, number).is_some_and(|column| column.as_c_str() == name)
        };
        (0..shown.columns.len()).find(is_it)
    };
    let stored = |name: &CStr| place(name).filter(|&at| shown.columns[at].stored.is_some());
    let pairs = arguments.chunks(3).map(|names| match names {
        [opened, input, sealed] => {
            let opened = place(opened).filter(|&at| shown.columns[at].stored.is_none())?;
            Some(Pair { opened, input: stored(input)?, sealed: stored(sealed)? })
        }
        _ => None,
    });
    let wrong =
        "must name columns of the view: each opened one, the one for new values, the sealed one";
    Ok(pairs.collect::<Option<_>>().ok_or(ViewError::Misuse(wrong))?)
}

impl Way {
    /// The type of a column.
    pub fn kind(&self, at: usize) -> pg_sys::Oid {
        self.shown.columns[at].kind
    }

    /// Whether NULL means that the statement has left a column out: PostgreSQL makes it, or it is one of a pair.
    pub fn is_made(&self, at: usize) -> bool {
        self.shown.columns[at].is_made
            || self.pairs.iter().any(|pair| pair.input == at || pair.sealed == at)
    }

    /// The plan of a statement that writes the chosen columns.
    pub fn plan(&self, action: Written, chosen: &Chosen) -> Result<Rc<SavedPlan>> {
        let known = self.plans.borrow().get(&(action, *chosen)).cloned();
        if let Some(plan) = known {
            return Ok(plan);
        }
        let (sql, types) = statements::of(self, action, chosen)?;
        let plan = Rc::new(SavedPlan::new(&sql.to_cstring(), &types).map_err(not_run)?);
        let mut plans = self.plans.borrow_mut();
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        plans.insert((action, *chosen), plan.clone());
        Ok(plan)
    }
}
