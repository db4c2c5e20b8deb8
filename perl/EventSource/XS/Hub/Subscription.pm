package EventSource::XS::Hub::Subscription;
use strict;
use warnings;

# Reads what a stream may ask of a hub: its topics and labels, where it begins, in which form it is sent its position, how long
# it stays open; and the streams that a call of `end` names. Each method checks a value and returns it as the native hub takes
# it.

use EventSource::XS::Hub::Limit;
use EventSource::XS::Hub::Name;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed reftype);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_TOPICS      = 1000;    # channels and patterns of a stream, by default
my $MAX_END_TOPICS  = 1000;    # of a call of end
my $MAX_LABELS      = 64;      # of a stream, and of a call of end
my $MAX_LABEL_BYTES = 256;     # bytes in UTF-8

my @START = qw(latest oldest state);

# Public methods

# The most topics of one message to a hub process.
sub bound_of_topics { return 65_536 }

sub check_number {
    my ($class, $most, @topics) = @_;
    $most = $MAX_TOPICS if !defined $most;
    $SETTINGS->refuse(channels => "a stream may have at most $most channels and patterns (max_topics)")
        if @topics > $most;
    return;
}

# The channels of a stream, each a topic, or an array of topics and a hash of options: references to hashes of topics and
# option. Those without options are one group, but not with one that an array between may have: the first element counts. An
# array is a group of its own: a number of events is counted in it.
sub groups {
    my ($class, $most, @channels) = @_;
    my (@groups, $plain, %between);
    for my $channel (@channels) {
        if (ref $channel eq 'ARRAY') {
            push @groups, _with_option(@$channel);
            $between{ref() ? '' : $_} = 1 for @{$groups[-1]{topics}};
            next;
        }
        my $topic = $class->topic($channel);
        undef $plain if ref $topic ? %between : $between{''} || $between{$topic};
        if (!$plain) {
            push @groups, $plain = {topics => [], option => {}};
            %between = ();
        }
        push @{$plain->{topics}}, $topic;
    }
    $class->check_number($most, map { @{$_->{topics}} } @groups);
    return \@groups;
}

# A reference to the labels, of one or of an array. Stringifies each object once.
sub labels {
    my ($class, $given) = @_;
    my @labels = map { $SETTINGS->name('a label', $_, field => 'label') } grep { defined } $SETTINGS->list($given);
    $SETTINGS->refuse(label => "there may be at most $MAX_LABELS labels") if @labels > $MAX_LABELS;
    for my $label (@labels) {
        utf8::encode(my $bytes = $label);
        $SETTINGS->refuse(label => "a label must be a string of 1 to $MAX_LABEL_BYTES bytes in UTF-8, such as 'user/7'")
            if !length $bytes || length $bytes > $MAX_LABEL_BYTES;
        $SETTINGS->refuse(label => 'a label must not begin with a NUL') if $bytes =~ /\A\0/;
    }
    return \@labels;
}

# Topics as the native hub takes them: the kind of each, and its name or pattern. An application may bless a scalar of its own
# as a pattern.
sub native_topics {
    my ($class, @topics) = @_;
    my @native;
    for my $topic (map { $class->topic($_) } @topics) {
        my $kind = reftype $topic or push(@native, channel => $topic), next;
        $SETTINGS->refuse(channel => "a pattern must be a string, not a reference to $kind")
            if $kind !~ /\A(?:SCALAR|REF|LVALUE|VSTRING)\z/;
        push @native, pattern => EventSource::XS::Hub::Name->checked($SETTINGS, channel => 'a pattern', "$$topic");
    }
    return @native;
}

# The options of end: references to the labels and the topics, and whether the clients are not to come back.
sub options_of_end {
    my ($class, @given) = @_;
    my %given  = $SETTINGS->options('end takes options', \@given, 'option %s of end', qw(finish label topics));
    my $labels = $class->labels($given{label});
    my @topics = $SETTINGS->list($given{topics});
    $SETTINGS->refuse(topics => "end takes at most $MAX_END_TOPICS topics") if @topics > $MAX_END_TOPICS;
    my @checked = map { $class->topic($_) } @topics;
    $SETTINGS->refuse(label => q{end takes the streams to end: label => 'user/7', or topics => ['orders']})
        if !@$labels && !@checked;
    return ($labels, \@checked, $given{finish} ? 1 : 0);
}

sub position {
    my ($class, $position) = @_;
    return $SETTINGS->one_of(position => $position, qw(event id none)) // 'event';
}

# The name of the start, and a number of events.
sub start {
    my ($class, $start) = @_;
    return (latest => 0)  if !defined $start;
    return ($start => 0)  if grep { $_ eq $start } @START;
    return (last   => $1) if $start =~ /\A-([1-9][0-9]{0,8})\z/;
    return $SETTINGS->refuse(start => "start must be 'latest', 'oldest', 'state' or a number of events, such as -10");
}

# A pattern, or the name of a channel as a string.
sub topic {
    my ($class, $topic) = @_;
    return $topic if blessed $topic && $topic->isa('EventSource::XS::Hub::Pattern');
    $SETTINGS->refuse(channel => 'a channel must be a string or a pattern, not undef') if !defined $topic;
    return EventSource::XS::Hub::Name->checked($SETTINGS, channel => "a channel's name", $topic);
}

# Private functions

# The options and the topics of an array in channels.
sub _with_option {
    my (@topics) = @_;
    my $option = pop @topics;
    $SETTINGS->refuse(
        channels => 'channels must return a list, not a reference to an array of names. An array of it has channels'
            . " and, last, their options: ['room/7', {start => -50}]")
        if ref $option ne 'HASH';
    $SETTINGS->refuse(channels => 'an array of channels has options, but no channel before them') if !@topics;
    $option = $SETTINGS->known($option, [qw(max_streams_per start)], 'option %s of a channel');
    EventSource::XS::Hub::Limit->of($option->{max_streams_per});
    __PACKAGE__->start($option->{start});
    return {topics => [map { __PACKAGE__->topic($_) } @topics], option => $option};
}

1;
