package EventSource::XS::Hub::Forgotten;
use strict;
use warnings;

# The event that tells streams that a key of the state is forgotten: of the type forget, with the key as its data, unless the
# application gives others. Where show_channel puts the channel and the key in the data of all events, it has no data of its
# own.

use Carp ();
use EventSource::XS::Settings;

# Carp reports no line of this package: a wrong value is the mistake of the code that called our caller.
$Carp::CarpInternal{+__PACKAGE__} = 1;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# Public methods

# The event as publish takes it, from a key, the fields that are given, and show_channel of the hub. Without a key it is the one
# of all events without.
sub event {
    my ($class, $key, $given, $show_channel) = @_;
    my $shows_key = defined $show_channel && $show_channel eq 'data';
    $key = $SETTINGS->name(key => defined $key ? $key : '', field => 'key');
    $SETTINGS->refuse(event => 'forget takes the event as a hash of fields, such as {event => \'gone\'}')
        if defined $given && ref $given ne 'HASH';
    my %given = (event => 'forget', %{$given || {}});
    $given{data} = $key if !$shows_key && !exists $given{data} && !exists $given{json};
    return {%given, key => length $key ? $key : undef, retain => 'forget'};
}

1;
