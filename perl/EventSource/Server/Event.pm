package EventSource::Server::Event;
use strict;
use warnings;

# One event, as the supply of an EventSource::Server gives it: a hash of format_event's fields that checks itself.

our $VERSION = '0.100';

use Carp            qw(croak);
use EventSource::XS ();
use overload        ();
use Scalar::Util    qw(blessed reftype);

# A wrong event is the fault of who gave it to the server.
our @CARP_NOT = qw(EventSource::Server EventSource::Server::Emitter);

my $FORMS = "a string, a hash, [type => 'data'] or an EventSource::Server::Event";

sub new {
    my ($class, @fields) = @_;
    my $fields = @fields == 1 ? $fields[0] : @fields % 2 ? undef : {@fields};
    croak 'EventSource::Server::Event: new takes names and values, or a hash of them' if ref $fields ne 'HASH';
    return bless _settled($fields), $class;
}

# Public methods

sub data { return $_[0]{data} }

sub encode {
    my %fields = %{$_[0]};
    delete $fields{key};
    return EventSource::XS::format_event(\%fields);
}

# The fields of whatever stands for an event (EventSource::Server/emit), as a hash of the caller's own.
sub fields_of {
    my ($class, @given) = @_;
    return _settled({type => $given[0], data => $given[1]})                 if @given == 2;
    croak "EventSource::Server: an event is $FORMS, or a type and its data" if @given != 1;
    my $given = $given[0];
    croak "EventSource::Server: an event is $FORMS, not undef" if !defined $given;
    return {data => $given}                                    if !ref $given;
    if (blessed $given) {
        return {%$given}        if $given->isa($class);
        return {data => $given} if overload::Method($given, '""');
    }
    elsif (ref $given eq 'HASH') { return _settled($given) }
    elsif (ref $given eq 'ARRAY' && @$given == 2) {
        return _settled({type => $given->[0], data => $given->[1]});
    }
    return croak "EventSource::Server: an event is $FORMS, not " . _name($given);
}

sub type { return $_[0]{event} }

# Private functions

sub _name {
    my $reference = shift;
    return 'an array of ' . @$reference if ref $reference eq 'ARRAY';
    return 'a ' . ref $reference        if blessed $reference;
    return 'a reference of the kind ' . reftype $reference;
}

# A copy of the fields, the type by its name in the standard.
sub _settled {
    my %fields = %{$_[0]};
    return \%fields                                           if !exists $fields{type};
    croak 'EventSource::Server: type and event are one field' if defined $fields{event} && defined $fields{type};
    my $type = delete $fields{type};
    $fields{event} = $type if defined $type;
    return \%fields;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Event - An event that an EventSource::Server sends

=head1 SYNOPSIS

    use EventSource::Server::Event;

    my $event = EventSource::Server::Event->new(type => 'foo', data => "a\nb");
    print $event->encode;    # "event: foo\ndata: a\ndata: b\n\n"

=head1 DESCRIPTION

What a supply may give and L<EventSource::Server/emit> take, besides a plain hash. It is a hash of the fields of
L<EventSource::XS/format_event>.

=head1 METHODS

=head2 new

    my $event = EventSource::Server::Event->new(type => $type, data => $data, %fields);

Takes names and values, or a reference to a hash of them: those of L<EventSource::XS/format_event>, C<key>, and C<type>,
which is another name for C<event>. Croaks if both are given, or the arguments are not in pairs. The values are
checked when they are encoded or emitted.

=head2 data

    my $data = $event->data;

=head2 encode

    my $bytes = $event->encode;

The event as it stands in a stream (L<EventSource::XS/format_event>, which says when this croaks). Not as in the Raku
module, lines end in LF, a line break at the end of the data is an empty line more, and empty data is one empty line.

=head2 fields_of

    my $fields = EventSource::Server::Event->fields_of($event);
    my $fields = EventSource::Server::Event->fields_of($type => $data);

What L<EventSource::Server/emit> takes, as a reference to a new hash of fields. Croaks if it stands for no event.

=head2 type

    my $type = $event->type;

C<undef> if it has none.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
