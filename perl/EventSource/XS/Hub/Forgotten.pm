package EventSource::XS::Hub::Forgotten;
use strict;
use warnings;

# The event that tells streams that a key of the state is forgotten: of the type forget, with the key as its data, unless the
# application gives others.

use Carp ();
use EventSource::XS::Settings;

# Carp reports no line of this package: a wrong value is the mistake of the code that called our caller.
$Carp::CarpInternal{+__PACKAGE__} = 1;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# Public methods

# The event as publish takes it, from a key and the fields that are given. Without a key it is the one of all events without.
sub event {
    my ($class, $key, $given) = @_;
    $key = $SETTINGS->string(key => defined $key ? $key : '', field => 'key');
    $SETTINGS->refuse(event => 'forget takes the event as a hash of fields, such as {event => \'gone\'}')
        if defined $given && ref $given ne 'HASH';
    my %given = (event => 'forget', %{$given || {}});
    $given{data} = $key if !exists $given{data} && !exists $given{json};
    return {%given, key => length $key ? $key : undef, retain => 'forget'};
}

1;
