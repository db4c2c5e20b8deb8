package Cargo;
use strict;
use warnings;

# Builds the program of a crate with cargo.
#
#   my $program = Cargo->build('bench/load/Cargo.toml');

use JSON::PP qw(decode_json);

# Public methods

# Returns the path of the program. Passes further options to cargo. Dies if the build fails.
sub build {
    my ($class, $manifest, @options) = @_;
    my $cargo = $ENV{CARGO} || 'cargo';
    my $program;
    open my $messages, '-|', $cargo, qw(build --quiet --release --locked --message-format=json-render-diagnostics),
        '--manifest-path', $manifest, @options
        or die "$cargo: $!\n";
    while (my $line = readline $messages) {
        my $message = eval { decode_json($line) } or next;
        $program = $message->{executable} if $message->{executable};
    }
    close $messages or die "cargo could not build $manifest\n";
    die "cargo built no program\n" if !defined $program;
    return $program;
}

1;
