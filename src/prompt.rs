//! The prompt of an attempt, fitted to the model's context.
