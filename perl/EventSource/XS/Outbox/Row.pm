package EventSource::XS::Outbox::Row;
use strict;
use warnings;

# A row of an outbox and the event that it stands for. A row has the texts of the application, not the form in which its hub
# sends them (show_channel), because SQL writes rows, too.

use EventSource::XS::JSONText;
use EventSource::XS::Settings;
use EventSource::XS::UTF8;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Outbox');

my @TEXTS = qw(channel event_key event event_id data json comment once);

# The fields of an event by the columns, but for data and json.
my %FIELD = (comment => 'comment', event => 'event', event_id => 'id', retry => 'retry');

# Public methods

# The row of an event whose fields publish of a hub has accepted. Its texts are bytes of UTF-8.
sub of_event {
    my ($class, $channel, $event, $once) = @_;
    my %row       = (channel => $channel, once => $once);
    my $has_bytes = $event->{bytes};
    $row{event_key} = $event->{key};
    $row{$_}        = $event->{$FIELD{$_}} for keys %FIELD;
    $row{json}      = $SETTINGS->json($event->{json}) if exists $event->{json};
    $row{data}      = $event->{data};
    $row{data}      = @{$row{data}} ? join "\n", @{$row{data}} : undef if ref $row{data} eq 'ARRAY';
    my $retain = $event->{retain} || '';
    @row{qw(retain forget)} = $retain eq 'forget' ? (0, 1) : (!!$retain, 0);
    my %is_bytes = map { $_ => 1 } $has_bytes ? qw(data comment event event_id) : ();
    $row{$_} = $SETTINGS->name($_ => $row{$_}) for qw(channel event_key once);

    for my $column (grep { defined $row{$_} } @TEXTS) {
        $row{$column} = "$row{$column}";
        next if $is_bytes{$column};
        $row{$column} = EventSource::XS::UTF8->repaired($row{$column});
        utf8::encode($row{$column});
    }
    return \%row;
}

# Rows of one group are published in their order: the events of a key in a channel, or those of a channel without a key. A row
# that no hub takes is alone in its group: its key may be cut, and the rows of its key do not wait for a dead letter.
sub group_of {
    my ($class, $row) = @_;
    return "\0$row->{id}" if $row->{too_long};
    return $row->{channel} . (_has_key($row) ? "\0$row->{event_key}" : '');
}

# The channel, and the fields as publish of a connection takes them, with the key by which the hub takes the row once. Dies with
# the reason if the row stands for no event.
sub publication_of {
    my ($class, $row) = @_;
    die "$row->{unreadable}\n" if defined $row->{unreadable};
    my %text  = map { $_ => _characters($_, $row->{$_}) } grep { defined $row->{$_} } @TEXTS;
    my %event = $row->{forget} ? (event => 'forget') : ();
    $event{$FIELD{$_}} = $text{$_} for grep { defined $text{$_} } qw(comment event event_id);
    $event{retry}      = $row->{retry}                    if defined $row->{retry};
    $event{data}       = $text{data}                      if defined $text{data};
    $event{json}       = _json($row->{json}, $text{json}) if defined $text{json};
    $event{key}        = $text{event_key}                 if _has_key(\%text);
    $event{retain}     = $row->{forget} ? 'forget' : 1 if $row->{retain} || $row->{forget};
    $event{once}       = defined $text{once} ? $text{once} : _key_of_token($row->{token});
    return ($text{channel}, \%event);
}

# Private functions

# The empty key is none.
sub _has_key { return defined $_[0]{event_key} && length $_[0]{event_key} }

sub _characters {
    my ($column, $text) = @_;
    return EventSource::XS::UTF8->repaired($text) if utf8::decode($text);
    die "$column is not UTF-8\n";
}

# SQL may have written any bytes, such as a binary UUID. The two forms have no key in common.
sub _key_of_token {
    my $token = shift;
    return $token =~ /[^\x20-\x7E]/ ? 'outbox/bytes ' . unpack('H*', $token) : "outbox $token";
}

# What the database has taken as JSON, the hub sends as it is. The column of SQLite and MariaDB takes any text.
sub _json {
    my ($bytes, $text) = @_;
    my $at = EventSource::XS::JSONText->mistake_at($bytes);
    die "json is not JSON after $at bytes\n" if defined $at;
    return EventSource::XS::JSONText->new($text);
}

1;
