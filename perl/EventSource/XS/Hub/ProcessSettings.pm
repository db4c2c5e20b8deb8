package EventSource::XS::Hub::ProcessSettings;
use strict;
use warnings;

# The settings of a named hub: its name, where its process is, how long that lives, and its store. Checks them, and makes of
# those that are given what the native hub takes.

use EventSource::Hub::Process;
use EventSource::XS::Hub::HubName;
use EventSource::XS::Hub::Store;
use EventSource::XS::Settings;

# An error reports the line of the application.
our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# They need a name.
my @NAMES = qw(autostart grace idle_exit max_relays publish_timeout socket store);

# Public methods

sub native {
    my ($class, %given) = @_;
    if (!defined $given{name}) {
        for my $setting (grep { defined $given{$_} } @NAMES) {
            $SETTINGS->refuse($setting, "$setting is for a named hub: give it a name, too");
        }
        return;
    }
    my %is_above_zero = (grace => 0, idle_exit => 0, publish_timeout => 1);
    return (
        name => _name($given{name}),
        defined $given{socket}                          ? (socket => _socket($given{socket}))                : (),
        defined $given{store}                           ? EventSource::XS::Hub::Store->native($given{store}) : (),
        !defined $given{autostart} || $given{autostart} ? (program => EventSource::Hub::Process->program)    : (),
        map      { ($_ => $SETTINGS->seconds($_, $given{$_}, is_above_zero => $is_above_zero{$_})) }
            grep { defined $given{$_} } sort keys %is_above_zero
    );
}

# Private functions

sub _name {
    my $name    = $SETTINGS->string(name => shift);
    my $problem = EventSource::XS::Hub::HubName->problem($name);
    $SETTINGS->refuse(name => "name $problem") if defined $problem;
    return $name;
}

sub _socket {
    my $path = $SETTINGS->string(socket => shift);
    $SETTINGS->refuse(socket => 'socket must be an absolute path without a NUL, such as /run/shop/hub.sock')
        if $path !~ m{\A/[^\0]+\z};
    utf8::encode($path) if utf8::is_utf8($path);    # as perl gives it to the system
    return $path;
}

1;
