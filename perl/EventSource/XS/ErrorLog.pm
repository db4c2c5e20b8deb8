package EventSource::XS::ErrorLog;
use strict;
use warnings;

# Exceptions of the application, such as those of a handler or a callback, as lines of the server's log. An exception may be any
# value, even one without a string. A handler of $SIG{__WARN__} may die, which must not harm others: callbacks of other streams,
# or the next request. So all warnings of the distribution come from here, but for those of a mistake at a caller's line.

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
    local ($@, $SIG{__DIE__});
    $errors && eval { $errors->print($line); 1 } or $class->warn($line);
    return;
}

# Warn. If a handler of warnings dies, the line is on standard error, and so is the handler's exception.
sub warn {
    my ($class, $line) = @_;
    local ($@, $SIG{__DIE__});
    return if eval { CORE::warn($line); 1 };
    print {*STDERR} $line, 'a handler of warnings has died: ' . $class->text_of($@) . "\n";
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
