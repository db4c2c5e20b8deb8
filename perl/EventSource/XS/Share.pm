package EventSource::XS::Share;
use strict;
use warnings;

# The files of share/, as make has installed them.

use EventSource::XS::Settings;
use File::Spec ();

# Beside this file, or where File::ShareDir finds it, too: in a folder of @INC.
my $LIBRARY = File::Spec->rel2abs(__FILE__) =~ s{/EventSource/XS/Share[.]pm\z}{}r;
my $FOLDER  = 'auto/share/dist/EventSource-XS';

# Public methods

sub content {
    my ($class, $name) = @_;
    my @paths  = map { "$_/$FOLDER/$name" } $LIBRARY, grep { !ref } @INC;
    my ($path) = ((grep { -e } @paths), @paths);
    open my $file, '<:raw', $path
        or EventSource::XS::Settings->new('EventSource::XS')
        ->throw(unsupported => "cannot read $path: $!. Install the distribution, or run make in its folder");
    local $/ = undef;
    return scalar readline $file;
}

1;
