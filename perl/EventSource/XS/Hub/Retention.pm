package EventSource::XS::Hub::Retention;
use strict;
use warnings;

# The retention of a hub, and its treatment of slow clients: checks the settings history, total_history, state, total_state,
# channels, max_members and on_slow, and makes of those that are given what the native hub takes.

use EventSource::XS::Hub::Pattern;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed);

# An error reports the line of the application.
our @CARP_NOT = qw(EventSource::Hub EventSource::XS::Hub::Pattern);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my @HISTORY = qw(events bytes seconds);
my @STATE   = qw(keys bytes);

# The largest bound, in events, keys or bytes. It fits a size_t.
my $MAX_BOUND = 999_999_999_999_999;

# The native hub compares a new channel with each of them, and asks each for the next event that expires.
my $MAX_CHANNELS = 100;

# Public methods

sub native {
    my ($class, %given) = @_;
    _on_slow('on_slow', $given{on_slow}, 'on_slow');
    $SETTINGS->whole_number(max_members => $given{max_members}, from => 0, to => $MAX_BOUND);
    return (
        (map { _own_bounds($_, $given{$_}, @HISTORY) } qw(history total_history)),
        (map { _own_bounds($_, $given{$_}, @STATE) } qw(state total_state)),
        _channels($given{channels}),
        map { defined $given{$_} ? ($_ => $given{$_}) : () } qw(max_members on_slow)
    );
}

# Private functions

# The bounds that are given of a setting that is a hash of them.
sub _bounds {
    my ($name, $given, $field, @bounds) = @_;
    $given = {} if !defined $given;
    $SETTINGS->refuse($field, "$name must be a hash of bounds, such as {$bounds[0] => 100}") if ref $given ne 'HASH';
    $SETTINGS->known($given, \@bounds, _format("bound %s of $name"));
    return {map { ($_ => _bound("$_ of $name", $given->{$_}, $field)) } grep { defined $given->{$_} } @bounds};
}

sub _bound {
    my ($name, $value, $field) = @_;
    return $SETTINGS->seconds($name, $value, field => $field) if $name =~ /\Aseconds /;
    return $SETTINGS->whole_number($name, $value, from => 0, to => $MAX_BOUND, field => $field);
}

# The channels with settings of their own: their number, and seven texts for each.
sub _channels {
    my $given = shift;
    return if !defined $given;
    my @list =
          ref $given eq 'ARRAY' && !(@$given % 2) ? @$given
        : ref $given eq 'HASH'                    ? map { ($_ => $given->{$_}) } _in_order(keys %$given)
        : $SETTINGS->refuse(
        channels => 'channels must be names or patterns and their settings, in a hash or in an array of'
            . ' pairs. The channels of a stream are an option of to_app');
    $SETTINGS->refuse(channels => "channels has at most $MAX_CHANNELS names and patterns") if @list > 2 * $MAX_CHANNELS;
    my @native;
    while (my ($pattern, $settings) = splice @list, 0, 2) {
        push @native, _of_channels($pattern, $settings);
    }
    return (channels => @native / 7, @native);
}

# Escapes the text of an application in a format, where %s is the last conversion.
sub _format {
    my ($before, $after) = split /%s/, shift, 2;
    $after =~ s/%/%%/g;
    return "$before%s$after";
}

# A hash has no order. A name comes before a pattern, and of two patterns the one whose text before the first star is longer.
sub _in_order {
    my %prefix     = map { ($_ => /\A([^*]*)/) } @_;
    my %is_pattern = map { ($_ => $_ ne $prefix{$_}) } @_;
    my @sorted =
        sort { $is_pattern{$a} <=> $is_pattern{$b} || length $prefix{$b} <=> length $prefix{$a} || $a cmp $b } @_;
    return @sorted;
}

# The pattern of some channels and their settings, as the native hub takes them. undef is the hub's own.
sub _of_channels {
    my ($pattern, $settings) = @_;
    $SETTINGS->refuse(
        channels => 'channels has a pattern object as the key of a hash: give its text, or an array of pairs')
        if defined $pattern && !ref $pattern && $pattern =~ /\AEventSource::XS::Hub::Pattern=SCALAR\(/;
    my $is_object = blessed $pattern && $pattern->isa('EventSource::XS::Hub::Pattern');
    my $text      = ${$is_object ? $pattern : EventSource::XS::Hub::Pattern->new($pattern)};
    my $of        = "of channels '$text'";
    $SETTINGS->refuse(channels => "the settings $of must be a hash, such as {history => {events => 100}}")
        if ref $settings ne 'HASH';
    $SETTINGS->known($settings, [qw(history on_slow state)], _format("setting %s $of"));
    my $history = _bounds("history $of", $settings->{history}, 'channels', @HISTORY);
    my $state   = _bounds("state $of",   $settings->{state},   'channels', @STATE);
    my $on_slow = _on_slow("on_slow $of", $settings->{on_slow}, 'channels');
    return ($text, @$history{@HISTORY}, @$state{@STATE}, $on_slow);
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

1;
