package EventSource::XS::Hub::HubName;
use strict;
use warnings;

# The rule for the name of a hub, which is the name of files. The hub process and the native hub have the same rule (`Name` in
# src/wire/hub_name.rs); t/hub/shared_rules.t compares them.

# Public methods

# The mistake in a name, as the end of a sentence; undef if it is right.
sub problem {
    my ($class, $name) = @_;
    return undef if $name =~ /\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\z/;
    return 'must be 1 to 64 letters, digits, _, - and ., beginning with a letter, a digit or _';
}

1;
