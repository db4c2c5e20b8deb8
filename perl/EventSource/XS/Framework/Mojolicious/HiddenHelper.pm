package EventSource::XS::Framework::Mojolicious::HiddenHelper;
use strict;
use warnings;

# An action of a controller that has the name of a helper. Perl finds the action first, so an action that calls the helper calls
# itself, until memory is gone. From its first request on such an action dies then, with the reason.

use B ();
use EventSource::XS::Settings;
use Scalar::Util qw(blessed refaddr);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Framework::Mojolicious');

# The functions that stand in the place of actions, by their addresses.
my %GUARD;

# Public methods

# Look at an action before it runs. names has the names of helpers, each with a name that no action has.
sub watch {
    my ($class, $c, $action, %names) = @_;
    return if $GUARD{refaddr $action};
    for my $helper (keys %names) {
        my $method = $c->can($helper);
        _guard(ref($c) . "::$helper", $action, $helper, $names{$helper}) if $method && $method == $action;
    }
    return;
}

# Private functions

# Routes call an action without arguments. A call with some is meant for the helper if it comes from the action itself. If it
# comes later, from a callback, the hub shows it.
sub _guard {
    my ($place, $action, $helper, $other) = @_;
    my ($package, $name) = map { ($_->STASH->NAME, $_->NAME) } B::svref_2object($action)->GV;
    my $guard = sub {
        $SETTINGS->refuse(undef,
                  "the action $helper of $package hides the helper of that name, and would call itself."
                . " Write \$c->$other(...), or give the action another name")
            if @_ > 1 && (_is_hub($_[1]) || ((caller 1)[3] || '') eq "${package}::$name");
        goto &$action;
    };
    $GUARD{refaddr $guard} = $guard;
    no strict 'refs';    ## no critic (TestingAndDebugging::ProhibitNoStrict)
    no warnings 'redefine';
    *$place = $guard;
    return;
}

sub _is_hub { return blessed $_[0] && $_[0]->isa('EventSource::Hub') }

1;
