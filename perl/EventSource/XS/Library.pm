package EventSource::XS;
use strict;
use warnings;

# The lower half of EventSource::XS, which all modules use: the native library, what src/xs calls in Perl, and the queue of
# callbacks. It is a file of its own because EventSource/XS.pm uses modules that need it.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS::ErrorLog;
use EventSource::XS::Loop;
use EventSource::XS::Settings;
use JSON::MaybeXS ();
use XSLoader;

XSLoader::load(__PACKAGE__, $VERSION);

# False where there are no native streams.
my $HAS_NATIVE = defined &_has_callbacks;

# What the library lacks there.
if (!$HAS_NATIVE) {
    *_generation = sub { return $$ };
    *$_          = sub { return 0 }
        for *EventSource::Hub::clock, *_count_callbacks, *_finish, *_has_left, *_is_short, *_new_interpreter,
        *_remove_interpreter, *_serve, *_set_next_look;
}

# The fields that each function knows.
my @OF_EVENT = qw(bytes comment data event id json retry);
my %FIELDS   = (
    as_string    => [qw(data event id retry)],
    format_event => \@OF_EVENT,
    publish      => [@OF_EVENT, 'key'],
    push         => \@OF_EVENT,
);

# What a name is that a beginner may take for one of a field.
my $NAME  = qr/\A(?![A-Z]+[(]0x)[^=]+\z/;
my %MEANT = (
    (map { ($_ => 'data') } qw(body content message msg payload text value)),
    (map { ($_ => 'event') } qw(name type)),
);

# The invocants in the usage of methods of src/xs, by the last part of their class.
my %INVOCANT = (Connection => '$conn', Hub => '$hub', Native => '$stream', Parser => '$parser');

# The texts of counts; the others are numbers.
my %IS_TEXT = map { ($_ => 1) } qw(kind last_error place source);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my $JSON = EventSource::XS::Settings->encoder;

# Callbacks never run inside a push, and those of a publish run after the event was published: so they cannot change its
# arguments. The methods of hubs read counters in C, and call Perl only if callbacks are queued.
#
# Queued callbacks: [is_here, code, arguments]. Callbacks with is_here, for the ends of streams, belong to this process and
# thread. A forked child runs its copy of the others, a new thread of none.
my @LATER;
my $process = $$;

# The acts that are done once, by process and name.
my %IS_DONE;

# True if an event loop has been asked to call dispatch.
my $is_asked = 0;

# True in a push and in a callback. src/xs/stream.h sets the first one too. And true if a module is loaded that dispatch always
# calls.
## no critic (ProhibitPackageVars)
our $is_polling     = 0;
our $is_pushing     = 0;
our $is_dispatching = 0;
## use critic

sub CLONE { $is_asked = @LATER = (); return }

# Public methods

# The hash of a call's names and values. A dot is between the name of a hash in it and a name there.
sub counts_of {
    my ($class, @texts) = @_;
    my %counts;
    while (my ($path, $text) = splice @texts, 0, 2) {
        my ($group, $name) = $path =~ /\A(?:(\w+)[.])?(\w+)\z/;
        my $hash = $group ? $counts{$group} ||= {} : \%counts;
        $hash->{$name} = $IS_TEXT{$name} ? $text : $text + 0;
    }
    return \%counts;
}

# Called for each request, so it asks at once whether there is anything to do at all. The library counts what is queued here.
sub dispatch {
    my $is_due = $HAS_NATIVE ? _has_callbacks() : @LATER;
    return $is_asked = 0 if !$is_due && !$is_polling;
    EventSource::XS::Stream::Native->collect if $HAS_NATIVE && $is_due && $INC{'EventSource/XS/Stream/Native.pm'};
    EventSource::XS::Stream::Relay->copy_all if $INC{'EventSource/XS/Stream/Relay.pm'};
    __PACKAGE__->tell_losses;
    EventSource::Hub::Lease->collect if $INC{'EventSource/Hub/Lease.pm'};
    $is_asked = 0;
    return 0         if !@LATER;
    _forget_others() if $process != $$;
    my @callbacks = splice @LATER;    # callbacks that these queue run at the next dispatch
    _count_callbacks(-@callbacks);    # for the methods of hubs, which run them
    local $is_dispatching = 1;

    for my $callback (@callbacks) {
        my (undef, $code, @arguments) = @$callback;
        EventSource::XS::ErrorLog->call_back({}, 'EventSource::XS: a callback died', $code, @arguments);
    }
    return scalar @callbacks;
}

# Returns true if callbacks wait for this process. A forked child has copies of those of others.
sub has_later_here {
    _forget_others() if $process != $$;
    return scalar grep { $_->[0] } @LATER;
}

# Returns true if a sub whose full name matches is among the callers.
sub is_below {
    my ($class, $subs) = @_;
    for (my $depth = 0; my $sub = (caller $depth)[3]; $depth++) { return !!1 if $sub =~ $subs }
    return !!0;
}

# Returns true the first time that this process calls it with a name.
sub is_first_time {
    my ($class, $name) = @_;
    return !$IS_DONE{"$$ $name"}++;
}

# Have subs of the calling package keep $@, $! and $? of their caller.
sub keep_errors {
    my ($class, @names) = @_;
    my $package = caller;
    no warnings 'redefine';
    _keep_errors("${package}::$_") for @names;
    return;
}

sub later {
    my ($class, $code, @arguments) = @_;
    $SETTINGS->refuse(code => 'later takes a code reference') if !defined $SETTINGS->code(code => $code);
    _queue(0, $code, @arguments);
    return;
}

# As later, but for this process only: a child that is forked before the call does not run it.
sub later_here {
    my ($class, $code, @arguments) = @_;
    _queue(1, $code, @arguments);
    return;
}

# Lost events and subscriptions of a hub process are reported once in a process.
sub tell_losses {
    my ($count, $cause) = $HAS_NATIVE ? EventSource::Hub::Process->_call('losses') : ();
    return if !$count || !__PACKAGE__->is_first_time('losses');
    EventSource::XS::ErrorLog->warn("EventSource::Hub: $count events or subscriptions for a named hub are lost: $cause;"
            . " later losses are only counted (EventSource::XS->stats->{lost})\n");
    return;
}

# Private functions

# Drops the callbacks that belong to another process.
sub _forget_others {
    my $before = @LATER;
    @LATER = grep { !$_->[0] } @LATER;
    _count_callbacks(@LATER - $before);
    $process  = $$;
    $is_asked = 0;
    return;
}

# Called by format_event.
sub _json { return $SETTINGS->json($_[0], $JSON) }

# Called by the methods of hubs and by the signal of notify_signal. The reactor repeats the signal until this has run.
sub _run_callbacks {
    return if $is_pushing || $is_dispatching || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    EventSource::XS::ErrorLog->call_back({}, 'EventSource::XS: callbacks', \&dispatch);
    return;
}

# Called by src/xs for an exception: the text for a field that a function does not know.
sub _unknown_field {
    my ($name, $function) = @_;
    return "EventSource::XS: $function takes names and values, or a hash of them; '$name' is not a name"
        if $name !~ $NAME;
    return "EventSource::XS: unknown field '$name'"
        . EventSource::XS::Settings->hint($name, $FIELDS{$function}, \%MEANT);
}

# Called by src/xs: the usage of a function, with the parameters that it has there.
sub _usage {
    my ($package, $name, $parameters) = @_;
    my ($class) = $package =~ /(\w+)\z/;
    my @given   = map { $_ eq '...' ? '@messages' : "\$$_" } grep { !/=/ } split /, /, $parameters;
    my $call  = @given && $given[0] eq '$self'  ? (shift(@given), $INVOCANT{$class} || '$self')[1] . "->$name"  : $name;
    my $event = grep({ $_ eq '$event' } @given) ? ', where $event is a string, or a hash such as {data => ...}' : '';
    return "$package: usage: $call" . (@given || $call eq $name ? '(' . join(', ', @given) . ')' : '') . $event;
}

# Called by src/xs: a push of names and values that are not in a hash.
sub _warn_bare_fields {
    my ($name, undef, @place) = @_;
    my $text = "push takes messages, and '$name' is one of them; did you mean push({$name => ...})?";
    return $SETTINGS->warn_once(bare_fields => $text, @place);
}

# Called by src/xs when debugging: a field has bytes of UTF-8 where characters are expected.
sub _warn_encoded {
    my ($field, undef, @place) = @_;
    my $text = "$field looks like bytes in UTF-8, and is encoded once more; decode it, or set bytes => 1";
    return $SETTINGS->warn_once(encoded => $text, @place);
}

# Called by src/xs: a drop-in sends a reference as perl shows it.
sub _warn_reference {
    my ($what, $function, @place) = @_;
    my $remedy = $function eq 'push' ? 'did you mean json => ...?' : 'encode it first, as JSON for example';
    my $text   = "$function: $what, and is sent as text such as HASH(0x...); $remedy";
    return $SETTINGS->warn_once(reference => $text, @place);
}

# Called by src/xs: a drop-in ignores fields that it does not know.
sub _warn_unknown_fields {
    my ($names, $function, @place) = @_;
    my %option = (meant => \%MEANT, place => \@place);
    $SETTINGS->warn_unknown("$function ignores the unknown field", $names, $FIELDS{$function}, %option);
    return;
}

# During global destruction nothing runs any more, and a new reference to an object would end it with an error.
sub _queue {
    return           if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    _forget_others() if $process != $$;
    push @LATER, [@_];
    _count_callbacks(1);

    my $loop = !$is_asked && EventSource::XS::Loop->current or return;
    $is_asked = $loop->next_tick(sub { __PACKAGE__->dispatch });    # it may not run yet
    return;
}

__PACKAGE__->keep_errors(qw(_json _run_callbacks));

1;
