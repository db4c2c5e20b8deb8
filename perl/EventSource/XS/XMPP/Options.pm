package EventSource::XS::XMPP::Options;
use strict;
use warnings;

# The settings of a bridge, which all its parts have: checked, with their defaults, and the same from then on. What is reported
# is reported here. "new" in EventSource::XMPP has the manual. Besides the settings there are names and patterns, of nodes.

use EventSource::XS::ErrorLog;
use EventSource::XS::Hub::Name;
use EventSource::XS::Reason;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::XMPP');

my @REQUIRED = qw(hub jid nodes password service);
my @OPTIONAL =
    qw(ca events format host max_items max_stanza newest_first on_refused poll port prefix publish report start tls);

my %EVENTS  = (delete => 'delete', purge => 'purge', retract => 'retract');
my @FORMATS = qw(json text xml);

my %DEFAULT = (
    format     => 'text',
    max_items  => 256,         # Prosody's pubsub_max_items, unless its configuration says otherwise
    max_stanza => 64 << 20,    # bytes: all items of a node come in one
    poll       => 30,          # seconds
    prefix     => '',
    report     => sub { EventSource::XS::ErrorLog->warn("EventSource::XMPP: $_[0]\n") if $_[1] },
    start      => 'oldest',
    tls        => 1,
);

sub new {
    my ($class, %given) = @_;
    $SETTINGS->known(\%given, [@REQUIRED, @OPTIONAL]);
    _check(\%given);
    my %option = (%DEFAULT, map { defined $given{$_} ? ($_ => $given{$_}) : () } keys %given);
    my ($names, $patterns) = _topics($given{nodes});
    return bless {
        %option,
        events   => {%EVENTS, %{$given{events} || {}}},
        names    => $names,
        patterns => $patterns,
        prefix   => $SETTINGS->name(prefix => $option{prefix}),
        service  => $class->service_of($given{service}),
    }, $class;
}

# Public methods

# The name of a channel of the bridge's own, of which each service and prefix has one.
sub channel {
    my ($self, $what) = @_;
    return $self->channel_of(@$self{qw(service prefix)}, $what);
}

sub channel_of {
    my ($class, $service, $prefix, $what) = @_;
    return join '/', 'EventSource::XMPP', $service, $what, $prefix;
}

# The service, of which a name of the hub is made.
sub service_of {
    my ($class, $service) = @_;
    $SETTINGS->refuse(service => 'service must be the JID of a pubsub service, such as pubsub.example.org')
        if !defined $service || $service !~ m{\A[^\s\0]+\z};
    return lc $SETTINGS->name(service => $service);
}

# The options of the connection, as EventSource::XS::XMPP::Connection takes them.
sub connection {
    my $self = shift;
    return map { defined $self->{$_} ? ($_ => $self->{$_}) : () } qw(ca host jid max_stanza password port tls);
}

# A problem, or all of them, is reported again when it comes again.
sub forget_reports {
    my ($self, @problems) = @_;
    delete @{$self->{reported}}{@problems ? @problems : keys %{$self->{reported}}};
    return;
}

# Returns true if a node is followed as soon as the service lists it.
sub has_pattern_for {
    my ($self, $name) = @_;
    return scalar grep { $name =~ $_ } @{$self->{patterns}};
}

# Applications may publish to the node; without a name, to any node.
sub may_publish {
    my ($self, $name) = @_;
    return $self->{publish} && (!defined $name || !ref $self->{publish} || $self->{publish}->($name));
}

# A publisher chooses the ids of items and the names of nodes, and no line of a log.
sub report {
    my ($self, $text, $is_problem) = @_;
    $self->{report}->(EventSource::XS::Reason->visible($text), !!$is_problem);
    return;
}

# A problem is reported once, until the connection is there again.
sub report_once {
    my ($self, $problem) = @_;
    $self->report($problem, !!1) if !$self->{reported}{$problem}++;
    return;
}

# Private functions

sub _check {
    my $given = shift;
    for my $name (grep { !defined $given->{$_} } @REQUIRED) {
        $SETTINGS->refuse($name, "$name is required");
    }
    $SETTINGS->named_hub($given->{hub});
    __PACKAGE__->service_of($given->{service});
    $SETTINGS->one_line($_ => $given->{$_}) for grep { defined $given->{$_} } qw(ca host jid password);
    $SETTINGS->refuse(jid => "jid must be the domain of a component, or user\@domain/resource, not '$given->{jid}'")
        if $given->{jid} !~ m{\A(?:[^\@/\s]+\@[^\@/\s]+(?:/.+)?|[^\@/\s]+)\z};
    $SETTINGS->refuse(prefix => 'prefix must be a string of less than 1,024 bytes')
        if defined $given->{prefix}
        && (ref $given->{prefix} || length $given->{prefix} >= EventSource::XS::Hub::Name->max_bytes);
    $SETTINGS->whole_number(port       => $given->{port},       from => 1,      to => 65_535);
    $SETTINGS->whole_number(max_items  => $given->{max_items},  from => 1,      to => 100_000);
    $SETTINGS->whole_number(max_stanza => $given->{max_stanza}, from => 65_536, to => 1 << 30, unit => 'bytes');
    $SETTINGS->seconds(poll => $given->{poll}, is_above_zero => 1);
    $SETTINGS->one_of(start  => $given->{start},  qw(oldest latest));
    $SETTINGS->one_of(format => $given->{format}, @FORMATS) if ref $given->{format} ne 'CODE';
    $SETTINGS->code($_      => $given->{$_}) for qw(on_refused report);
    $SETTINGS->code(publish => $given->{publish}) if ref $given->{publish};
    _check_events($given->{events} || {});
    return;
}

sub _check_events {
    my $events = shift;
    $SETTINGS->refuse(events => 'events must be a hash, such as {retract => \'gone\'}') if ref $events ne 'HASH';
    $events = $SETTINGS->known($events, [keys %EVENTS], 'event %s');
    $SETTINGS->one_line("events: $_" => $events->{$_}, field => 'events')
        for grep { defined $events->{$_} } sort keys %$events;
    return;
}

# The names, and the regular expressions of the patterns.
sub _topics {
    my $given = shift;
    my @given = ref $given eq 'ARRAY' ? @$given : ($given);
    my (@names, @patterns);
    for my $topic (@given) {
        if (blessed $topic && $topic->isa('EventSource::XS::Hub::Pattern')) { push @patterns, _regex_of($$topic); next }
        my $name = $SETTINGS->name(nodes => $topic);
        $SETTINGS->refuse(nodes => 'each of nodes must be a name or a pattern') if !defined $name || !length $name;
        push @names, $name;
    }
    $SETTINGS->refuse(nodes => 'nodes must name a node, or have a pattern') if !@given;
    return (\@names, \@patterns);
}

# "pattern" in EventSource::Hub: * stands for any characters but /, ** for any characters.
sub _regex_of {
    my $pattern = shift;
    my $regex = join '', map { /\A[*]{2,}\z/ ? '.*' : $_ eq '*' ? '[^/]*' : quotemeta } grep { length } split /([*]+)/,
        $pattern;
    return qr/\A$regex\z/s;
}

1;
