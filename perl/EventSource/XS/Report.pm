package EventSource::XS::Report;
use strict;
use warnings;

# Reports an exception of the application to the server's log. The exception may be any value, even one without a
# string.

our $VERSION = '0.100';

# Public methods

sub call_back {
    my ($class, $env, $what, $code, @arguments) = @_;
    my $answer;
    local $@;
    return \$answer if eval { $answer = $code->(@arguments); 1 };
    $class->exception($env->{'psgi.errors'}, $what, $@);
    return;
}

sub exception {
    my ($class, $errors, $what, $exception) = @_;
    my $line = "$what: " . $class->text_of($exception) . "\n";
    if   ($errors) { $errors->print($line) }
    else           { warn $line }
    return;
}

sub text_of {
    my ($class, $exception) = @_;
    local $@;
    my $text = eval { "$exception" };
    $text = 'a ' . ref($exception) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    return $text;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Report - Report an exception to the server's log

=head1 SYNOPSIS

    use EventSource::XS::Report;

    my $app = sub {
        my $env = shift;
        if (!eval { die "no disk\n" }) {
            EventSource::XS::Report->exception($env->{'psgi.errors'}, 'My::App: the import failed', $@);
        }
        return [200, ['Content-Type' => 'text/event-stream'], ["data: done\n\n"]];
    };

=head1 DESCRIPTION

A streaming response has sent its head before its handler runs, so an exception cannot become an error response. The
modules of this distribution end the stream and report the exception with this class.

=head1 METHODS

=head2 call_back

    my $answer = EventSource::XS::Report->call_back($env, 'My::App: authorize', $code, @arguments);

Call code of the application in scalar context. Returns a reference to its result; or an empty list if it died. The
exception is then printed to C<psgi.errors>, after the second argument and a colon.

=head2 exception

    EventSource::XS::Report->exception($env->{'psgi.errors'}, 'My::App: the handler died', $exception);

Print one report: the second argument, a colon and the exception (L</text_of>). The first argument is an object with a
C<print> method, such as C<psgi.errors>. Without one, the report is a warning. Dies if C<print> dies.

=head2 text_of

    my $text = EventSource::XS::Report->text_of($exception);

Return an exception as text, in bytes, without the line break at its end. Characters above U+00FF are encoded as UTF-8.
Objects are made strings; if that dies, the text names their class.

=head1 SEE ALSO

L<EventSource::Error>, L<EventSource::XS::Settings>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
