package EventSource::Server::Event;
use strict;
use warnings;

# One event of an EventSource::Server: a hash of the fields that format_event accepts, and key.

our $VERSION = '0.100';

use EventSource::XS ();
use EventSource::XS::Settings;
use overload     ();
use Scalar::Util qw(blessed reftype);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Server');

my $FORMS = "a string, a hash, [type => 'data'] or an EventSource::Server::Event";

sub new {
    my ($class, @fields) = @_;
    my %fields = EventSource::XS::Settings->new($class)->parse('new takes fields', @fields);
    return bless _with_standard_names(\%fields), $class;
}

# Public methods

sub data { return $_[0]{data} }

sub encode {
    my %fields = %{$_[0]};
    delete $fields{key};
    return EventSource::XS::format_event(\%fields);
}

# The fields of any value that emit accepts. Croaks if the value is not an event.
sub fields_of {
    my ($class, @given) = @_;
    return _with_standard_names({type => $given[0], data => $given[1]})    if @given == 2;
    $SETTINGS->refuse(undef, "an event is $FORMS, or a type and its data") if @given != 1;
    my $given = $given[0];
    $SETTINGS->refuse(undef, "an event is $FORMS, not undef") if !defined $given;
    return {data => $given}                                   if !ref $given;
    if (blessed $given) {
        return {%$given}        if $given->isa($class);
        return {data => $given} if overload::Method($given, '""');
    }
    elsif (ref $given eq 'HASH') { return _with_standard_names($given) }
    elsif (ref $given eq 'ARRAY' && @$given == 2) {
        return _with_standard_names({type => $given->[0], data => $given->[1]});
    }
    return $SETTINGS->refuse(undef, "an event is $FORMS, not " . _described($given));
}

sub type { return $_[0]{event} }

# Private functions

sub _described {
    my $reference = shift;
    return 'an array of ' . @$reference if ref $reference eq 'ARRAY';
    return 'a ' . ref $reference        if blessed $reference;
    return 'a reference of the kind ' . reftype $reference;
}

# Returns a copy of the fields in which type is named event, as in the WHATWG standard.
sub _with_standard_names {
    my %fields = %{$_[0]};
    return \%fields if !exists $fields{type};
    $SETTINGS->refuse(type => 'type and event are one field')
        if defined $fields{event} && defined $fields{type};
    my $type = delete $fields{type};
    $fields{event} = $type if defined $type;
    return \%fields;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Event - An event of an EventSource::Server

=head1 SYNOPSIS

    use EventSource::Server::Event;

    my $event = EventSource::Server::Event->new(type => 'foo', data => "a\nb");
    print $event->encode;    # "event: foo\ndata: a\ndata: b\n\n"

=head1 DESCRIPTION

L<EventSource::Server/emit> and supplies accept such objects, like plain hashes.

=head1 METHODS

=head2 new

    my $event = EventSource::Server::Event->new(type => $type, data => $data, %fields);
    my $event = EventSource::Server::Event->new(\%fields);

Create an event. The fields are those of L<EventSource::XS/format_event>, C<key> (L<EventSource::Hub/publish>), and C<type>,
another name of C<event>. Croaks if both are given, or if the arguments are not pairs. The values are checked when the event
is encoded or emitted.

=head2 data

    my $data = $event->data;

Return the data as given, or C<undef>.

=head2 encode

    my $bytes = $event->encode;

Encode the event as L<EventSource::XS/format_event> does.

=head2 type

    my $type = $event->type;

Return the type, or C<undef>.

=cut
