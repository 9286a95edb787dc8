//! Finds edits in a model's reply and turns them into a [`Patch`](crate::patch::Patch) against the base.
