package EventSource::XS::ErrorLog;
use strict;
use warnings;

# Exceptions of the application, such as those of a handler or a callback, as lines of the server's log. An exception may be any
# value, even one without a string.

# Public methods

# Call code of the application in scalar context. Returns a reference to its result; or an empty list if it died. The
# exception is then written to psgi.errors, after the second argument and a colon.
sub call_back {
    my ($class, $env, $what, $code, @arguments) = @_;
    my $answer;
    local $@;
    return \$answer if eval { $answer = $code->(@arguments); 1 };
    $class->write($env->{'psgi.errors'}, $what, $@);
    return;
}

# Write one line: the second argument, a colon and the exception (text_of). The first argument is an object with a print method,
# such as psgi.errors. Without one, the line is a warning.
sub write {
    my ($class, $errors, $what, $exception) = @_;
    my $line = "$what: " . $class->text_of($exception) . "\n";
    if   ($errors) { $errors->print($line) }
    else           { warn $line }
    return;
}

# Return an exception as text, in bytes, without the line break at its end. Characters above U+00FF are encoded as UTF-8.
# Objects are made strings; if that dies, the text names their class.
sub text_of {
    my ($class, $exception) = @_;
    local ($@, $SIG{__DIE__});
    my $text = eval { "$exception" };
    $text = 'a ' . ref($exception) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    return $text;
}

1;
