# frozen_string_literal: true

module Gitlab
  # Which build this tree belongs to; differs in every build, so that a patch may or may not apply.
  module VersionInfo
    BUILD = '@VERSION@'
    REVISION = '@REVISION@'
  end
end
