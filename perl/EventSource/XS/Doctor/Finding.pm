package EventSource::XS::Doctor::Finding;
use strict;
use warnings;

# What one check has found: a verdict, a sentence, and a remedy with the lines of configuration that mend it.

our $VERSION = '0.100';

use EventSource::XS::Doctor::Remedy;

# The longest text, in characters: a server may send long names and values.
my $MAX_TEXT = 1000;

# Public methods

sub check { return $_[0]{check} }

sub configuration { return $_[0]{configuration} || {} }

sub explains { return @{$_[0]{explains} || []} }

sub measured { return $_[0]{measured} || {} }

sub ok { my ($class, @rest) = @_; return $class->_new('ok', @rest) }

sub remedy { return $_[0]{remedy} }

sub sentence { return $_[0]{sentence} }

sub verdict { return $_[0]{verdict} }

sub warning { my ($class, @rest) = @_; return $class->_new('warning', @rest) }

sub wrong { my ($class, @rest) = @_; return $class->_new('wrong', @rest) }

# Private methods

sub _new {
    my ($class, $verdict, $check, $sentence, %option) = @_;
    my $by = delete $option{proxies};
    $option{configuration} = EventSource::XS::Doctor::Remedy->lines(@$by) if $by;
    for my $text (grep { defined && length > $MAX_TEXT } $sentence, $option{remedy}) {
        $text = substr($text, 0, $MAX_TEXT) . '...';
    }
    return bless {%option, verdict => $verdict, check => $check, sentence => $sentence}, $class;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Doctor::Finding - What one check of a stream has found

=head1 SYNOPSIS

    use EventSource::XS::Doctor::Finding;

    my $finding = EventSource::XS::Doctor::Finding->wrong(
        'buffering', 'The probe has not arrived.',
        remedy  => 'Turn the buffering of responses off.',
        proxies => ['buffering']
    );
    print $finding->sentence, ' ', $finding->remedy, "\n";

=head1 METHODS

=head2 ok, warning, wrong

    my $finding = EventSource::XS::Doctor::Finding->wrong($check, $sentence, %options);

Return a finding with that verdict. Options: C<remedy> (a sentence), C<proxies> (the arguments of
L<EventSource::XS::Doctor::Remedy/lines>, in an array), C<measured> (a hash), C<explains> (an array).

=head2 check

Return the name of what was checked, such as C<buffering>.

=head2 configuration

Return a hash: the lines of configuration, an array, by the name of the proxy.

=head2 explains

Return the names of the checks whose findings follow from this one.

=head2 measured

Return a hash of what was measured.

=head2 remedy

Return the remedy as a sentence; C<undef> if nothing is to be done.

=head2 sentence

Return the finding as a sentence.

=head2 verdict

Return C<ok>, C<warning> or C<wrong>.

=head1 SEE ALSO

L<EventSource::XS::Doctor>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
