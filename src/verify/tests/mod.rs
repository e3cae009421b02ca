//! Proof that the verifier is right: a simulated server and network ([`world`]), histories of it
//! that must raise nothing ([`clean`]), each fault of the catalogue at a dose of one ([`faults`]),
//! what happens at the limits ([`guards`]), and that a recorded history comes to the same
//! ([`traces`]).

mod clean;
mod faults;
mod guards;
mod traces;
mod unnumbered;
mod world;
