package EventSource::XS::Doctor::Check::Modules;
use strict;
use warnings;

# Judges which files perl loads for the names that this distribution shares with its originals.

use EventSource::XS                  ();
use EventSource::XS::Doctor::Finding qw(ok warning);

my @SHARED = qw(HTTP::ServerEvent Plack::App::EventSource);

# Public methods

sub findings {
    my ($ours) = $INC{'EventSource/XS.pm'} =~ m{\A(.*)EventSource/XS[.]pm\z}s;
    my @findings;
    for my $name (@SHARED) {
        my $path = $name =~ s{::}{/}gr . '.pm';
        my ($loaded) = grep { -e } map { "$_/$path" } grep { !ref } @INC;
        next if !defined $loaded || _file($loaded) eq _file("$ours$path");
        push @findings,
            warning(
            "This perl loads $name from $loaded, which is not of this distribution.",
            "Remove it, or let the folder $ours come first in \@INC (PERL5LIB)."
            );
    }
    return @findings ? @findings : ok("This perl loads @{[join ' and ', @SHARED]} from $ours.");
}

# Private functions

# The file behind a path, whatever the path looks like.
sub _file { return join ' ', (stat shift)[0, 1] }

1;
