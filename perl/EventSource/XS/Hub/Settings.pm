package EventSource::XS::Hub::Settings;
use strict;
use warnings;

# The settings of a hub: checks them, and makes of those that are given what the native hub takes, names, each with its texts
# behind it (src/xs/hub.rs). The others have their defaults there. The rules of the values of `store` are in src/store_settings,
# for the command line, too.

use EventSource::Hub::Process;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Hub::Word;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my %EVENT_NAME = (gap_event => 'gap', position_event => 'position');

# In the order in which the native hub takes their data.
my @GAP_REASONS = qw(evicted unknown slow);

my @HISTORY = qw(events bytes seconds);
my @STATE   = qw(keys bytes);

# They need a name.
my @OF_PROCESS = qw(autostart grace idle_exit max_relays publish_timeout socket store);

# The largest bound, in events, keys or bytes. It fits a size_t.
my $MAX_BOUND = 999_999_999_999_999;

# The native hub compares a new channel with each of them, and asks each for the next event that expires.
my $MAX_CHANNELS = 100;

my $MAX_RELAYS = 10_000;

# Public methods

# The names of the hub's own events.
sub event_names {
    my ($class, %given) = @_;
    return map { ($_ => defined $given{$_} ? $given{$_} : $EVENT_NAME{$_}) } keys %EVENT_NAME;
}

sub native {
    my ($class, %given) = @_;
    $SETTINGS->one_line($_ => $given{$_}) for qw(gap_event position_event);
    my %event = $class->event_names(%given);
    for my $name (sort keys %event) {
        $SETTINGS->refuse($name => "$name must not be '$event{$name}', the type in which the hub speaks for itself")
            if EventSource::XS::Hub::Word->is_word({event => $event{$name}});
    }
    $SETTINGS->refuse(
        position_event => "position_event must not be '$event{gap_event}', the name of the event for gaps")
        if $event{position_event} eq $event{gap_event} && !_is_for_process(%given);
    $SETTINGS->whole_number(max_relays => $given{max_relays}, from => 0, to => $MAX_RELAYS);
    my $most_topics = EventSource::XS::Hub::Subscription->bound_of_topics;
    $SETTINGS->whole_number(max_topics => $given{max_topics}, from => 1, to => $most_topics);
    $SETTINGS->one_of(show_channel => $given{show_channel}, 'event', 'data');
    _on_slow('on_slow', $given{on_slow}, 'on_slow');
    $SETTINGS->whole_number(max_members => $given{max_members}, from => 0, to => $MAX_BOUND);
    return (
        (map { _own_bounds($_, $given{$_}, @HISTORY) } qw(keep_history keep_total_history)),
        (map { _own_bounds($_, $given{$_}, @STATE) } qw(keep_state keep_total_state)),
        _per_channel($given{per_channel}),
        _gap_data($given{gap_data}, $event{gap_event}),
        _of_process(%given),
        (
            map { defined $given{$_} ? ($_ => $given{$_}) : () }
                qw(gap_event max_members max_streams max_topics on_slow position_event show_channel)
        ),
        defined $given{opaque_ids} ? (opaque_ids             => $given{opaque_ids}          ? 1 : 0) : (),
        defined $given{position}   ? (refuses_position_event => $given{position} eq 'event' ? 1 : 0) : (),
    );
}

# Private functions

# The bounds that are given of a setting that is a hash of them.
sub _bounds {
    my ($name, $given, $field, @bounds) = @_;
    $given = {} if !defined $given;
    $SETTINGS->refuse($field, "$name must be a hash of bounds, such as {$bounds[0] => 100}") if ref $given ne 'HASH';
    $given = $SETTINGS->known($given, \@bounds, "bound %s of $name");
    return {map { ($_ => _bound("$_ of $name", $given->{$_}, $field)) } grep { defined $given->{$_} } @bounds};
}

sub _bound {
    my ($name, $value, $field) = @_;
    return $SETTINGS->seconds($name, $value, field => $field) if $name =~ /\Aseconds /;
    return $SETTINGS->whole_number($name, $value, from => 0, to => $MAX_BOUND, field => $field);
}

# The channels with settings of their own: their number, and seven texts for each.
sub _per_channel {
    my $given = shift;
    return if !defined $given;
    my @list =
          ref $given eq 'ARRAY' && !(@$given % 2) ? @$given
        : ref $given eq 'HASH'                    ? map { ($_ => $given->{$_}) } _in_order(keys %$given)
        : $SETTINGS->refuse(
        per_channel => 'per_channel must be names or patterns and their settings, in a hash or in an array of pairs');
    $SETTINGS->refuse(per_channel => "per_channel has at most $MAX_CHANNELS names and patterns")
        if @list > 2 * $MAX_CHANNELS;
    my @native;
    while (my ($pattern, $settings) = splice @list, 0, 2) {
        push @native, _of_channels($pattern, $settings);
    }
    return (per_channel => @native / 7, @native);
}

# The data of gap events for each reason, if the application gives them.
sub _gap_data {
    my ($gap_data, $gap_event) = @_;
    return if !defined $gap_data;
    return (gap_data => map { _gap_data_for($_, $gap_data, $gap_event) } @GAP_REASONS);
}

sub _gap_data_for {
    my ($reason, $gap_data, $gap_event) = @_;
    my $is_code = ref $gap_data eq 'CODE';
    my $data    = $is_code ? $gap_data->({event => $gap_event, reason => $reason}) : $gap_data;
    $SETTINGS->refuse(gap_data => "gap_data must return the data of the event, not undef, for the reason '$reason'")
        if !defined $data;
    return $SETTINGS->string($is_code ? 'what gap_data returns' : 'gap_data', $data, field => 'gap_data');
}

# A hash has no order. A name comes before a pattern, and of two patterns the one whose text before the first star is longer.
sub _in_order {
    my %prefix     = map { ($_ => /\A([^*]*)/) } @_;
    my %is_pattern = map { ($_ => $_ ne $prefix{$_}) } @_;
    my @sorted =
        sort { $is_pattern{$a} <=> $is_pattern{$b} || length $prefix{$b} <=> length $prefix{$a} || $a cmp $b } @_;
    return @sorted;
}

# Returns true if the hub process has the name of an event of its own that this object does not name: the process compares them.
sub _is_for_process {
    my %given = @_;
    return defined $given{name} && 2 > grep { defined } @given{qw(gap_event position_event)};
}

# The pattern of some channels and their settings, as the native hub takes them. undef is the hub's own.
sub _of_channels {
    my ($pattern, $settings) = @_;
    $SETTINGS->refuse(
        per_channel => 'per_channel has a pattern object as the key of a hash: give its text, or an array of pairs')
        if defined $pattern && !ref $pattern && $pattern =~ /\AEventSource::XS::Hub::Pattern=SCALAR\(/;
    my $is_object = blessed $pattern && $pattern->isa('EventSource::XS::Hub::Pattern');
    my $text      = ${$is_object ? $pattern : EventSource::XS::Hub::Name->pattern($pattern)};
    my $of        = "of per_channel '$text'";
    $SETTINGS->refuse(per_channel => "the settings $of must be a hash, such as {keep_history => {events => 100}}")
        if ref $settings ne 'HASH';
    $settings = $SETTINGS->known($settings, [qw(keep_history keep_state on_slow)], "setting %s $of");
    my $history = _bounds("keep_history $of", $settings->{keep_history}, 'per_channel', @HISTORY);
    my $state   = _bounds("keep_state $of",   $settings->{keep_state},   'per_channel', @STATE);
    my $on_slow = _on_slow("on_slow $of", $settings->{on_slow}, 'per_channel');
    return ($text, @$history{@HISTORY}, @$state{@STATE}, $on_slow);
}

# The name of a named hub, where its process is, how long that lives, and its store.
sub _of_process {
    my %given = @_;
    if (!defined $given{name}) {
        $SETTINGS->refuse($_, "$_ is for a named hub: give it a name, too") for grep { defined $given{$_} } @OF_PROCESS;
        return;
    }
    my $name    = $SETTINGS->string(name => $given{name});
    my $problem = EventSource::XS::Hub::Name->problem_of_hub($name);
    $SETTINGS->refuse(name => "name $problem") if defined $problem;
    my $socket        = EventSource::XS::Hub::Name->socket($SETTINGS, $given{socket});
    my %is_above_zero = (grace => 0, idle_exit => 0, publish_timeout => 1);
    return (
        name => $name,
        defined $socket                                 ? (socket => $socket)                             : (),
        defined $given{store}                           ? _store($given{store})                           : (),
        !defined $given{autostart} || $given{autostart} ? (program => EventSource::Hub::Process->program) : (),
        map      { ($_ => $SETTINGS->seconds($_, $given{$_}, is_above_zero => $is_above_zero{$_})) }
            grep { defined $given{$_} } sort keys %is_above_zero
    );
}

sub _on_slow {
    my ($name, $given, $field) = @_;
    $SETTINGS->refuse($field, "$name must be 'disconnect', 'gap' or 'latest'")
        if defined $given && $given !~ /\A(?:disconnect|gap|latest)\z/;
    return $given;
}

# The bounds of a setting of the hub, if it is given.
sub _own_bounds {
    my ($name, $given, @bounds) = @_;
    return defined $given ? ($name => @{_bounds($name, $given, $name, @bounds)}{@bounds}) : ();
}

# The setting `store`: a number, and so many names and values; none for memory. No message shows any part of the URL of Redis,
# because that may contain a password.
sub _store {
    my $store = shift;
    return (store => 0) if !ref $store && $store eq 'memory';
    my @names = ref $store eq 'HASH' ? grep { defined $store->{$_} } sort keys %$store : ();
    $SETTINGS->refuse(store => q(store must be 'memory', {file => ...} or {redis => ...})) if !@names;
    return (store => scalar @names, map { ($_, _value_in_store($_, $store->{$_})) } @names);
}

# A value as characters. Paths are such, or bytes of UTF-8.
sub _value_in_store {
    my ($name, $value) = @_;
    my $text = $SETTINGS->string("$name of store", $value, field => 'store');
    utf8::decode($text);
    return $text;
}

1;
