//! The pure function that decides the next action from the ledger.
